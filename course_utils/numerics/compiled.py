"""The inner loops that are worth compiling, by numba; `formats`, `block_formats`, `affine` and `format_search` enter,
and `low_bit.xnor`.

They import this module when they first meet a large tensor on the CPU, and do without it when numba is missing:
torch's own operations give the same result, at a half to a seventh of the speed.

Why numba and not ``torch.compile``: both reach the speed of a copy, but torch.compile calls a C++ compiler, which many
a student's machine lacks (it then raises), takes ten seconds for its first kernel, and forks worker processes. Numba
brings its compiler along. What the loops are about is in their arguments, so one compilation serves every format of a
kind; another one is due for another dtype, and for stochastic rounding. Each takes a fifth of a second to a second.
They are kept in ``__pycache__`` beside Python's own where that folder can be written, and made anew for each process
where not.

Each kind of format (`Nearest`, `Float` and `AnyFloat`, `Fixed`, `Exponent`) brings ``_value`` (a number, rounded),
``_code`` (its code) and ``_decoded`` (a code's value). Three loops over a tensor and two over its blocks serve all.

Slices
------
A thread that runs a loop takes the tensor's next slice until there is none, by an addition to a number that all of them
share: one that wakes late, or that has to share its core, does fewer slices. The threads are numba's: OpenMP's where
that is installed. See `run`.

Random numbers for stochastic rounding
--------------------------------------
Draw number i of a call is ``mix(key + i * STRIDE)``, with the key taken from torch's generator: splitmix64, a bijection
of 64 bits that passes BigCrush. It has no state to hand on from element to element, so neither the order in which they
are visited nor the threads that visit them matter. Two calls of n elements would share numbers if their keys were less
than n strides apart: with 2^63 keys, a chance of 2^-38 for two calls of 16 million. Source: Steele, Lea, Flood, Fast
splittable pseudorandom number generators, 2014.

Stands on numba and numpy.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import threading
from functools import cache
from pathlib import Path
from typing import NamedTuple

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.core.caching import FunctionCache
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic, overload

__all__ = [
    "STRIDE",
    "Exponent",
    "Fixed",
    "Float",
    "Nearest",
    "PowerOfTwo",
    "TwoLevels",
    "decode",
    "encode",
    "encode_blocks",
    "fake_quantize",
    "largest_finite",
    "quantize",
    "quantize_blocks",
    "run",
    "slices",
    "sum_in_cells",
    "xnor_products",
]


class _Cache(FunctionCache):
    """Numba's, which raises where it cannot write; as in a sandbox, if this module was imported outside of it."""

    def save_overload(self, sig, data):
        with contextlib.suppress(OSError):
            super().save_overload(sig, data)


def loop(function, parallel: bool = False):
    """Compiled at the first call with arguments of new types; what is compiled is kept, if it can be."""
    dispatcher = njit(error_model="numpy", nogil=True, parallel=parallel)(function)
    if os.access(Path(__file__).parent, os.W_OK):
        dispatcher._cache = _Cache(function)
    return dispatcher


inner = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)  # called by loops only


# Bits. Numba widens whole numbers to 64 bits, which halves the speed of a loop on float32; these keep their width.


@intrinsic
def _bits(context, x):
    """The bits of a float32 or float64, read as an integer of the same width."""
    integer = {types.float32: types.int32, types.float64: types.int64}[x]
    return integer(x), lambda context, builder, _, given: builder.bitcast(given[0], context.get_value_type(integer))


@intrinsic
def _number(context, x):
    """The reverse of `_bits`."""
    number = {types.int32: types.float32, types.int64: types.float64}[x]
    return number(x), lambda context, builder, _, given: builder.bitcast(given[0], context.get_value_type(number))


def _instruction(name: str):
    @intrinsic
    def call(context, x, y):
        return x(x, x), lambda context, builder, _, given: getattr(builder, name)(*given)

    return call


_add, _sub, _and, _or, _shl, _shr = map(_instruction, ("add", "sub", "and_", "or_", "shl", "ashr"))


@intrinsic
def _like(context, x, y):
    """The integer ``x`` in the type of ``y``."""
    return y(x, y), lambda context, builder, _, given: context.cast(builder, given[0], x, y)


# float16 and bfloat16, which numba lacks: their bits come as int16 and uint16, and are computed with as float32.

HAS_HALF = platform.machine() in ("arm64", "aarch64") or llvm.get_host_cpu_features().get("f16c", False)
"""Whether the processor itself converts float16; without, LLVM would call a function that numba does not have."""


@intrinsic
def _from_half(context, x):
    def generate(context, builder, _, given):
        return builder.fpext(builder.bitcast(given[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.int16), generate


@intrinsic
def _to_half(context, x):
    def generate(context, builder, _, given):
        return builder.bitcast(builder.fptrunc(given[0], ir.HalfType()), ir.IntType(16))

    return types.int16(types.float32), generate


def _load(x):
    """A number of a tensor."""


@overload(_load)
def _(x):
    if x == types.int16:
        return lambda x: _from_half(x)
    if x == types.uint16:
        return lambda x: _number(_shl(np.int32(x), np.int32(16)))
    return lambda x: x


def _stored(value, old):
    """A number, which the dtype of ``old`` holds exactly, in that dtype."""


@overload(_stored)
def _(value, old):
    if old == types.int16:
        return lambda value, old: _to_half(value)
    if old == types.uint16:
        return lambda value, old: np.uint16(_shr(_bits(value), np.int32(16)))
    return lambda value, old: value


# Random numbers.

STRIDE = 0x9E3779B97F4A7C15
E8M0_FIRST = (1023 - 127) << 52  # float64's bits of 2^-127


@inner
def _mix(z):
    """splitmix64's bijection of 64 bits."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _draw(key, i):
    """64 random bits for element i, or None without a key."""


@overload(_draw)
def _(key, i):
    if _given(key):
        return lambda key, i: _mix(key + np.uint64(i) * np.uint64(STRIDE))
    return lambda key, i: None


# Whole numbers.


def _whole(q, more, draw):
    """``q >= 0`` to a whole number: downward after adding ``more``; if that is -1 to the nearest, ties to even; with a
    draw by chance."""


@overload(_whole)
def _(q, more, draw):
    if not _given(draw):
        return lambda q, more, draw: np.floor(q + more) if more >= 0 else np.rint(q)
    if q == types.float32:

        def by_chance(q, more, draw):
            whole = np.floor(q)
            chance = np.float32(np.int32(draw >> np.uint64(40))) * np.float32(2.0**-24)
            return whole + np.float32(1) if chance < q - whole else whole

    else:

        def by_chance(q, more, draw):
            whole = np.floor(q)
            return whole + 1.0 if np.int64(draw >> np.uint64(11)) * 2.0**-53 < q - whole else whole

    return by_chance


def _given(argument) -> bool:
    """Whether an argument, of which the compiler knows the type, is not None."""
    return not isinstance(argument, types.NoneType)


# The kinds of formats. Their fields are numpy scalars of the input's width, floats and integers both.


class Nearest(NamedTuple):
    """A floating-point format with mantissa bits and subnormals, to nearest even, saturating: what most tensors are
    rounded to. Rounding is left to the processor's addition: of a number so large that its last bit is the step."""

    lowest: np.floating  # the power of two at which the first normal binade begins
    largest: np.floating
    large: np.floating  # that number, in times of the binade
    exponent: np.integer  # where the exponent is in the input's bits
    drop: np.integer  # the input's mantissa bits less the format's
    offset: np.integer  # what remains of lowest's bits after dropping so many
    nan_code: np.integer
    sign: np.integer


class Float(NamedTuple):
    """The same, with the other roundings, and with exponents as far as the input's reach."""

    lowest: np.floating  # the powers of two at which the first and the last normal binade begin
    highest: np.floating
    spacing: np.floating  # 2^-mantissa_bits
    per_spacing: np.floating
    largest: np.floating
    more: np.floating  # see `_whole`
    exponent: np.integer  # where the exponent is in the input's bits
    reciprocal: np.integer  # less the bits of a power of two: the bits of its reciprocal
    smallest: np.integer  # but for the largest power, whose reciprocal is subnormal
    drop: np.integer  # the input's mantissa bits less the format's
    offset: np.integer  # what remains of lowest's bits after dropping so many
    nan_code: np.integer
    sign: np.integer


AnyFloat = NamedTuple(
    "AnyFloat",
    [
        *Float.__annotations__.items(),  # not a Float: numba hands no tuple within a tuple to threads
        ("beyond", np.floating),  # what finite numbers become that round to more than the largest
        ("infinity", np.floating),  # what infinity becomes
        ("beyond_code", np.integer),
        ("infinity_code", np.integer),
        ("flush", np.floating),  # smaller results become zero; 0 keeps the subnormals
        ("odd", np.integer),  # 1 where ties look at the exponent: without mantissa bits, to nearest even; else 0
    ],
)
AnyFloat.__doc__ = """Any floating-point format, and what else may be asked of it."""


class FloatCodes(NamedTuple):
    """A floating-point format, to be decoded to float32."""

    lowest_code: np.int32
    highest_code: np.int32
    magnitude: np.int32  # all bits but the sign
    mantissa_bits: np.int32
    first: np.int32  # the exponent field that float32 has for 2^first_exponent
    unit: np.float32  # times 2^first_exponent, what a step is worth in the first binade
    flush: np.int32  # smaller codes are zero
    largest: np.int32
    infinity: np.int32  # its code, or -1


class Fixed(NamedTuple):
    """A fixed-point format; bounds and step as floats."""

    step: np.floating
    lowest: np.floating
    highest: np.floating
    zero: np.floating
    more: np.floating


class FixedCodes(NamedTuple):
    """A fixed-point format, to be decoded."""

    lowest_code: np.int64
    highest_code: np.int64
    step: np.floating


class Exponent(NamedTuple):
    """The format e8m0."""

    lowest_code: np.int32
    highest_code: np.int32
    more: np.int64  # what is added to float64's bits before the mantissa is dropped
    odd: np.int64  # and which bits of the exponent
    top: np.int64  # the code of what is too large


@inner
def _in_steps(size, f):
    """A magnitude in steps of its binade, which are whole numbers for the format's values; and the binade."""
    binade = min(max(_number(_and(_bits(size), f.exponent)), f.lowest), f.highest)
    # Dividing by powers of two, without a division, which would cost more than all the rest.
    return size * _number(max(_sub(f.reciprocal, _bits(binade)), f.smallest)) * f.per_spacing, binade


@inner
def _sum(x, f):
    """``|x|``, clamped, and the large number of its binade: their sum, the number, and the binade."""
    size = abs(x)
    size = f.largest if size > f.largest else size  # NaN stays
    binade = max(_number(_and(_bits(size), f.exponent)), f.lowest)
    large = binade * f.large
    return size + large, large, binade


@inner
def _rounded(x, f, draw):
    """``|x|`` in steps of its binade, rounded; and the binade. First clamped: the largest value rounds to itself."""
    size = abs(x)
    size = f.largest if size > f.largest else size  # NaN stays
    q, binade = _in_steps(size, f)
    return _whole(q, f.more, draw), binade


@inner
def _rounded_any(x, f, draw):
    """The same, not clamped, and looking at the exponent of ties."""
    q, binade = _in_steps(abs(x), f)
    odd = _and(_sub(_shr(_bits(binade), f.drop), f.offset), f.odd) != 0
    if (q == 1.5) & odd:  # there is no mantissa bit, and this power of two has an even code: 1.5 goes down to 1
        q = f.spacing
    return _whole(q, f.more, draw), binade


@inner
def _index(q, binade, f):
    """The code without sign: the steps, and 2^mantissa_bits for each binade below."""
    return _add(_like(q, f.sign), _sub(_shr(_bits(binade), f.drop), f.offset))


@inner
def _count(x, f, draw):
    """``x`` in steps, rounded and clamped."""
    q = x / f.step
    q = np.copysign(_whole(abs(q), f.more, draw), q)
    q = f.lowest if q < f.lowest else q
    return f.highest if q > f.highest else q


def _value(x, f, draw):
    """``x`` rounded."""


@overload(_value)
def _(x, f, draw):
    if f.instance_class is Nearest:

        def value(x, f, draw):
            total, large, _ = _sum(x, f)
            return np.copysign(total - large, x)

    elif f.instance_class is Float:

        def value(x, f, draw):
            q, binade = _rounded(x, f, draw)
            return np.copysign(q * (binade * f.spacing), x)

    elif f.instance_class is AnyFloat:

        def value(x, f, draw):
            q, binade = _rounded_any(x, f, draw)
            r = q * (binade * f.spacing)
            r = f.beyond if r > f.largest else r
            r = f.infinity if abs(x) == np.inf else r
            r = f.flush - f.flush if r < f.flush else r
            return np.copysign(r, x)

    elif f.instance_class is Fixed:

        def value(x, f, draw):
            return _count(x, f, draw) * f.step + f.zero  # -0.0 + 0.0 is 0.0

    else:
        return lambda x, f, draw: _decoded(_code(x, f, draw), f)

    return value


def _code(x, f, draw):
    """The code of ``x`` rounded."""


@overload(_code)
def _(x, f, draw):
    if f.instance_class is Nearest:

        def code(x, f, draw):
            total, large, binade = _sum(x, f)
            steps = _sub(_bits(total), _bits(large))
            c = f.nan_code if x != x else _add(steps, _sub(_shr(_bits(binade), f.drop), f.offset))
            return _or(c, f.sign) if _bits(x) < 0 else c

    elif f.instance_class is Float:

        def code(x, f, draw):
            q, binade = _rounded(x, f, draw)
            c = f.nan_code if x != x else _index(q, binade, f)
            return _or(c, f.sign) if _bits(x) < 0 else c

    elif f.instance_class is AnyFloat:

        def code(x, f, draw):
            q, binade = _rounded_any(x, f, draw)
            r = q * (binade * f.spacing)
            c = _index(q, binade, f)
            c = f.beyond_code if r > f.largest else c
            c = f.infinity_code if abs(x) == np.inf else c
            c = f.nan_code if x != x else c
            c = _sub(c, c) if r < f.flush else c
            return _or(c, f.sign) if _bits(x) < 0 else c

    elif f.instance_class is Fixed:

        def code(x, f, draw):
            q = _count(x, f, draw)
            return _like(q, _bits(q))

    else:
        by_chance = _given(draw)

        def code(x, f, draw):
            bits = max(_bits(abs(np.float64(x))) - E8M0_FIRST, 0)
            bits += np.int64(draw >> np.uint64(12)) if by_chance else f.more + ((bits >> 52) & f.odd)
            c = min(bits >> 52, f.top)
            return 255 if x < 0 or x != x else c

    return code


def _decoded(c, f):
    """The value of a code."""


@overload(_decoded)
def _(c, f):
    if f.instance_class is FloatCodes:

        def decoded(c, f):
            code = _like(c, f.magnitude)
            size = _and(code, f.magnitude)
            one = np.int32(1)
            binade = max(_sub(_shr(size, f.mantissa_bits), one), _sub(one, one))
            steps = _sub(size, _shl(binade, f.mantissa_bits))  # 2^m + mantissa, or the mantissa of a subnormal
            power = _number(_shl(_add(binade, f.first), np.int32(23)))
            value = np.float32(steps) * f.unit * power
            if size < f.flush:
                value = np.float32(0)
            if size > f.largest:
                value = np.float32(np.inf) if size == f.infinity else np.float32(np.nan)
            return -value if size != code else value

    elif f.instance_class is FixedCodes:
        return lambda c, f: c * f.step
    else:

        def decoded(c, f):
            code = _like(c, f.highest_code)
            bits = max(_shl(code, np.int32(23)), np.int32(1 << 22))  # 2^-127 is subnormal
            return np.float32(np.nan) if code == 255 else _number(bits)

    return decoded


# What threads that run the same loop share: `slices`, three numbers.


def slices(length: int) -> np.ndarray:
    """Of so many elements each. How many elements have been taken, and the largest of what the slices found (see each
    loop), are 0 yet."""
    return np.array([0, 0, length])


_LENGTH = 2


def _shared(operation: str, place: int):
    """Adds to a shared number, or replaces it by what is larger, which no other thread can come between; returns what
    it was. Whoever sees the new number also sees all that was written before."""

    @intrinsic
    def call(context, shared, value):
        def generate(context, builder, _, given):
            numbers = context.make_array(shared)(context, builder, given[0]).data
            where = builder.gep(numbers, [ir.Constant(ir.IntType(64), place)])
            return builder.atomic_rmw(operation, where, given[1], "seq_cst")

        return types.int64(shared, types.int64), generate

    return call


_taken, _found = _shared("add", 0), _shared("max", 1)


@inner
def _next(shared, size):
    """Where the next slice of ``size`` elements begins and ends; the same where there is none."""
    start = min(_taken(shared, shared[_LENGTH]), size)
    return start, min(start + shared[_LENGTH], size)


_one_at_a_time = threading.Lock()  # not every kind of numba's threads can serve two calls
_may_have_threads = True


def _have_no_threads() -> None:
    global _may_have_threads
    _may_have_threads = False


if hasattr(os, "register_at_fork"):  # OpenMP's threads do not survive a fork, and numba would end the process
    os.register_at_fork(after_in_child=_have_no_threads)


def run(name: str, threads: int, *arguments) -> int:
    """Runs a loop over slices, on so many threads if it can have them.

    It cannot in a fork, nor while another thread of Python's has them: then this one does all the work.

    Args:
        name: of the loop; the function ``<name>_on_threads`` runs it on several.
        arguments: of the loop; the last is `slices`.

    Returns:
        The largest of what the slices found; 0 if nothing.
    """
    if threads > 1 and _may_have_threads and _one_at_a_time.acquire(blocking=False):
        try:
            _on_threads(name)(threads, *arguments)
        finally:
            _one_at_a_time.release()
    else:
        globals()[name](*arguments)
    return int(arguments[-1][1])


@cache
def _on_threads(name: str):
    """Compiled when it is needed: what numba imports for it takes a quarter of a second."""
    return loop(globals()[f"{name}_on_threads"], parallel=True)


# The loops over a tensor. ``key`` is a uint64, and None without chance.


@loop
def quantize(x, y, f, key, shared):
    """``y[i]`` = ``x[i]`` rounded to the format ``f``.

    Args:
        x, y: arrays of one dimension: float32, float64, or the bits of float16 (int16) or bfloat16 (uint16).
        shared: `slices`.
    """
    start, end = _next(shared, x.size)
    while start < end:
        _quantize_slice(x[start:end], y[start:end], f, _moved(key, start))
        start, end = _next(shared, x.size)


def quantize_on_threads(threads, x, y, f, key, shared):
    for _ in prange(threads):
        quantize(x, y, f, key, shared)


@inner
def _quantize_slice(x, y, f, key):
    for i in range(x.size):
        y[i] = _stored(_value(_load(x[i]), f, _draw(key, i)), y[i])


@loop
def encode(x, codes, f, key, shared):
    """``codes[i]`` = the code of ``x[i]`` rounded. Finds 1 where there is a NaN."""
    start, end = _next(shared, x.size)
    while start < end:
        _found(shared, _encode_slice(x[start:end], codes[start:end], f, _moved(key, start)))
        start, end = _next(shared, x.size)


def encode_on_threads(threads, x, codes, f, key, shared):
    for _ in prange(threads):
        encode(x, codes, f, key, shared)


@inner
def _encode_slice(x, codes, f, key):
    nan = False
    for i in range(x.size):
        value = _load(x[i])
        nan |= value != value
        codes[i] = _code(value, f, _draw(key, i))
    return np.int64(nan)


@loop
def decode(codes, y, f, shared):
    """``y[i]`` = the value of ``codes[i]``. Finds 1 where one is out of range."""
    start, end = _next(shared, codes.size)
    while start < end:
        _found(shared, _decode_slice(codes[start:end], y[start:end], f))
        start, end = _next(shared, codes.size)


def decode_on_threads(threads, codes, y, f, shared):
    for _ in prange(threads):
        decode(codes, y, f, shared)


@inner
def _decode_slice(codes, y, f):
    wrong = False
    for i in range(codes.size):
        wrong |= (codes[i] < f.lowest_code) | (codes[i] > f.highest_code)
        y[i] = _decoded(codes[i], f)
    return np.int64(wrong)


# The loops over the blocks of a tensor. A rule says which scale belongs to a block's largest magnitude.


class PowerOfTwo(NamedTuple):
    """MX: 2^(exponent of the largest - exponent of the element format's largest), as far as e8m0 reaches."""

    top: np.int64
    zero: np.floating  # of the width to compute in
    exponent: np.integer  # where the exponent is in that width's bits
    reciprocal: np.integer  # see `_divided`
    smallest: np.integer


TwoLevels = NamedTuple(
    "TwoLevels",
    [
        *Nearest.__annotations__.items(),  # the scales' format
        ("tensor_scale", np.floating),
        ("largest_element", np.floating),
        ("least_scale", np.floating),
        ("zero", np.floating),
    ],
)
TwoLevels.__doc__ = (
    """NVFP4: a sixth of the largest, in units of the tensor's scale, rounded to e4m3, but not to zero."""
)


def _scale(largest, rule):
    """(scale, its code) of a block."""


@overload(_scale)
def _(largest, rule):
    if rule.instance_class is PowerOfTwo:

        def scale(largest, rule):
            exponent = min(max((_bits(np.float64(largest)) >> 52) - 1023 - rule.top, -127), 127)
            finite = largest < np.inf
            return _number(np.int64((exponent + 1023) << 52)) if finite else np.nan, exponent + 127 if finite else 255

    else:

        def scale(largest, rule):
            wanted = max(largest / rule.largest_element / rule.tensor_scale, rule.least_scale)
            if not largest < np.inf:
                wanted = abs(largest - largest)
            scales = Nearest(*rule[:8])
            return _value(wanted, scales, None) * rule.tensor_scale, np.int64(_code(wanted, scales, None))

    return scale


def _divided(x, scale, rule):
    """``x / scale``."""


@overload(_divided)
def _(x, scale, rule):
    if rule.instance_class is PowerOfTwo:
        # Times the reciprocal, without a division. 2^-127 and 2^127 are each other's, and the first is subnormal: half
        # of an exponent's last bit is added on the way, and taken off.
        return lambda x, scale, rule: (
            x * _number(max(_and(_sub(rule.reciprocal, _bits(scale)), rule.exponent), rule.smallest))
        )
    return lambda x, scale, rule: x / scale


# A run of neighbours is taken as one vector. Left to itself, the compiler turns the loops over blocks around, and then
# gathers and scatters single numbers. LLVM makes of these vectors what the processor has.

RUN = 16  # elements
PIECE = 2**10  # elements; with what is worked out about them they stay in a core's first-level cache


@intrinsic
def _largest_of_run(context, x, k):
    """The magnitude with the largest bits in run ``k``: bits are in the order of magnitudes, and NaN above all."""
    width = x.dtype.bitwidth

    def generate(context, builder, _, given):
        vector = ir.VectorType(ir.IntType(width), RUN)
        bits = builder.and_(
            builder.load(_run(context, builder, x, given, vector), align=width // 8),
            ir.Constant(vector, [2 ** (width - 1) - 1] * RUN),
        )
        kind = ir.FunctionType(ir.IntType(width), [vector])
        reduce = get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.smax.v{RUN}i{width}")
        return builder.bitcast(builder.call(reduce, [bits]), context.get_value_type(x.dtype))

    return x.dtype(x, k), generate


@intrinsic
def _fill_run(context, x, k, value):
    """Every element of run ``k`` becomes ``value``."""

    def generate(context, builder, _, given):
        vector = ir.VectorType(given[2].type, RUN)
        first = builder.insert_element(ir.Constant(vector, ir.Undefined), given[2], ir.IntType(32)(0))
        same = ir.Constant(ir.VectorType(ir.IntType(32), RUN), [0] * RUN)
        filled = builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), same)
        builder.store(filled, _run(context, builder, x, given, vector), align=x.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(x, k, x.dtype), generate


def _run(context, builder, x, given, vector):
    """Where it is."""
    start = builder.mul(given[1], given[1].type(RUN))
    return builder.bitcast(
        builder.gep(context.make_array(x)(context, builder, given[0]).data, [start]), vector.as_pointer()
    )


@inner
def _scales(x, size, rule, runs, codes, each):
    """The scales of a piece's blocks: their codes, and the scale of each element. ``runs`` has room for a number for
    each run."""
    for k in range(x.size // RUN):
        runs[k] = _load(_largest_of_run(x, k))
    left = x.size // RUN
    while left > codes.size:  # halved until there is one for each block
        left //= 2
        for k in range(left):
            runs[k] = _number(max(_bits(runs[2 * k]), _bits(runs[2 * k + 1])))
    for k in range(codes.size):
        runs[k], codes[k] = _scale(runs[k], rule)
    shift = 0
    while size >> shift > RUN:
        shift += 1
    for k in range(x.size // RUN):
        _fill_run(each, k, runs[k >> shift])


@inner
def _quantize_piece(x, scales, y, f, key, rule):
    for i in range(x.size):
        y[i] = _value(_divided(_load(x[i]), scales[i], rule), f, _draw(key, i)) * scales[i]


@inner
def _encode_piece(x, scales, codes, f, key, rule):
    for i in range(x.size):
        value = _divided(_load(x[i]), scales[i], rule) if scales[i] == scales[i] else rule.zero
        codes[i] = _code(value, f, _draw(key, i))


def _moved(key, elements):
    """The key of the draws from that element on."""


@overload(_moved)
def _(key, elements):
    if _given(key):
        return lambda key, elements: key + np.uint64(elements) * np.uint64(STRIDE)
    return lambda key, elements: None


@loop
def quantize_blocks(x, y, codes, size, f, key, rule, shared):
    """``y[i]`` = ``x[i]`` rounded to its block's scale times a value of ``f``.

    Args:
        x, y: arrays of one dimension, as in `quantize`; the numbers of a block are neighbours.
        codes: uint8, the codes of the blocks' scales; written.
        size: of the blocks, a power of two from RUN on that divides the lengths of ``x`` and of the slices.
    """
    length = max(PIECE, size)
    runs, each = np.full(length // RUN, rule.zero), np.full(length, rule.zero)
    first, end = _next(shared, x.size)
    while first < end:
        for start in range(first, end, length):
            stop = min(start + length, end)
            piece, scales = x[start:stop], each[: stop - start]
            _scales(piece, size, rule, runs, codes[start // size : stop // size], scales)
            _quantize_piece(piece, scales, y[start:stop], f, _moved(key, start), rule)
        first, end = _next(shared, x.size)


def quantize_blocks_on_threads(threads, x, y, codes, size, f, key, rule, shared):
    for _ in prange(threads):
        quantize_blocks(x, y, codes, size, f, key, rule, shared)


@loop
def encode_blocks(x, y, codes, size, f, key, rule, shared):
    """The same for codes: ``y[i]`` is that of the element, which is 0 where the scale is NaN."""
    length = max(PIECE, size)
    runs, each = np.full(length // RUN, rule.zero), np.full(length, rule.zero)
    first, end = _next(shared, x.size)
    while first < end:
        for start in range(first, end, length):
            stop = min(start + length, end)
            piece, scales = x[start:stop], each[: stop - start]
            _scales(piece, size, rule, runs, codes[start // size : stop // size], scales)
            _encode_piece(piece, scales, y[start:stop], f, _moved(key, start), rule)
        first, end = _next(shared, x.size)


def encode_blocks_on_threads(threads, x, y, codes, size, f, key, rule, shared):
    for _ in prange(threads):
        encode_blocks(x, y, codes, size, f, key, rule, shared)


@loop
def largest_finite(x, infinity, signed, shared):
    """Finds the largest of the finite numbers (of their magnitudes, if ``signed``), as the bits of a float64; 0 if none
    is above. ``infinity`` is of the width to compute in."""
    start, end = _next(shared, x.size)
    while start < end:
        _found(shared, _bits(np.float64(_largest_of_slice(x[start:end], infinity, signed))))
        start, end = _next(shared, x.size)


def largest_finite_on_threads(threads, x, infinity, signed, shared):
    for _ in prange(threads):
        largest_finite(x, infinity, signed, shared)


@inner
def _largest_of_slice(x, infinity, signed):
    infinite = _bits(infinity)
    largest = none = _sub(infinite, infinite)
    for i in range(x.size):
        bits = _bits(abs(_load(x[i])) if signed else _load(x[i]))  # in the order of the numbers, from 0 on
        largest = max(largest, bits if bits < infinite else none)
    return _number(largest)


# From the formats' own descriptions to the loops'. ``real`` is the numpy dtype to compute in.

_INTEGER = {np.float32: np.int32, np.float64: np.int64}
_MANTISSA = {np.float32: 23, np.float64: 52}


@cache
def float_format(f, real: type, rounding: str, overflow: str) -> Nearest | Float | AnyFloat:
    """A `formats.FloatFormat`."""
    integer, mantissa, m = _INTEGER[real], _MANTISSA[real], f.mantissa_bits
    infinite = ((1 << 8 * real().itemsize - 1) - 1) >> mantissa << mantissa  # the bits of infinity
    bias = np.finfo(real).maxexp - 1
    usual = overflow == "saturate" and f.subnormals and m > 0
    if usual and rounding == "nearest-even" and 0 < mantissa - m < bias - f.max_exponent:
        return Nearest(
            *map(real, (2.0**f.min_exponent, f.largest, 2.0 ** (mantissa - m))),
            *map(integer, (infinite, mantissa - m, (f.min_exponent + bias) << m, f._nan_code, 1 << (f.bits - 1))),
        )
    common = Float(
        *map(real, (2.0**f.min_exponent, 2.0**f.max_exponent, 2.0**-m, 2.0**m, f.largest)),
        _more(rounding, real),
        *map(integer, (infinite, (2 * bias) << mantissa, 1 << (mantissa - 1), mantissa - m)),
        *map(integer, ((f.min_exponent + bias) << m, f._nan_code, 1 << (f.bits - 1) if f.bits < 32 else 0)),
    )
    if usual:
        return common
    infinity, infinity_code = f.largest, f._largest_code
    if overflow == "infinity":
        infinity = np.inf if f.has_infinity else np.nan
        infinity_code = f._largest_code + 1 if f.has_infinity else f._nan_code
    finite = rounding == "toward-zero"  # then only infinity overflows
    return AnyFloat(
        *common,
        *map(real, (f.largest if finite else infinity, infinity)),
        *map(integer, (f._largest_code if finite else infinity_code, infinity_code)),
        real(0 if f.subnormals else f.smallest_normal),
        integer(m == 0 and rounding == "nearest-even"),
    )


@cache
def float_codes(f) -> FloatCodes:
    """The same, to decode."""
    m, magnitude = f.mantissa_bits, 2 ** (f.bits - 1) - 1
    less = max(m - f.min_exponent - 126, 0)  # so that the power of two below is a normal float32
    return FloatCodes(
        *map(np.int32, (0, 2 * magnitude + 1, magnitude, m, f.min_exponent - m + less + 127)),
        np.float32(2.0**-less),
        *map(np.int32, (0 if f.subnormals else 2**m, f._largest_code, f._largest_code + 1 if f.has_infinity else -1)),
    )


@cache
def fixed_format(f, real: type, rounding: str) -> Fixed:
    """A `fixed_point.FixedPoint`."""
    return Fixed(*map(real, (f.step, *f.code_range, 0)), _more(rounding, real))


@cache
def fixed_codes(f, real: type) -> FixedCodes:
    """The same, to decode."""
    return FixedCodes(*map(np.int64, f.code_range), real(f.step))


@cache
def exponent_format(rounding: str, overflow: str) -> Exponent:
    """The `formats.ExponentFormat`; float64's mantissa bits are dropped."""
    more = {"nearest-even": 2**51 - 1, "nearest-away": 2**51}.get(rounding, 0)
    odd = rounding == "nearest-even"
    return Exponent(np.int32(0), np.int32(255), np.int64(more), np.int64(odd), np.int64(255 - (overflow == "saturate")))


def _more(rounding: str, real: type):
    """What to add before going downward. For a half and more to go up, the number just below a half: see `rounding`."""
    if rounding == "nearest-even":
        return real(-1)
    return real(0.5 - np.finfo(real).eps / 4 if rounding == "nearest-away" else 0)


@cache
def power_of_two(largest: float, real: type) -> PowerOfTwo:
    """The rule of MX, for elements up to ``largest``."""
    mantissa = _MANTISSA[real]
    bias, half = np.finfo(real).maxexp - 1, 1 << mantissa - 1
    bits = (2 * bias + 1) << mantissa, (2 * bias << mantissa) + half, half
    return PowerOfTwo(np.int64(math.frexp(largest)[1] - 1), real(0), *map(_INTEGER[real], bits))


def two_levels(tensor_scale: float, largest: float, scales, real: type) -> TwoLevels:
    """The rule of NVFP4, for elements up to ``largest`` and scales in the format ``scales``."""
    rounded = float_format(scales, real, "nearest-even", "saturate")
    return TwoLevels(*rounded, *map(real, (tensor_scale, largest, scales.smallest, 0)))


# What `affine` and `format_search` have compiled.


@loop
def fake_quantize(x, y, scale, zero_point, quant_min, quant_max):
    """``y[o, c, i]`` = whole number nearest to ``x[o, c, i] / scale[c]``, within bounds, times ``scale[c]``.

    The bounds are ``quant_min - zero_point[c]`` and ``quant_max - zero_point[c]``; `affine` tells why.

    Args:
        x, y: float32 arrays (outer, channels, inner), ``y`` is written.
        scale, zero_point: float32 arrays (channels,), or (1,) for all channels; zero points may be int32, too.
        quant_min, quant_max: float32, the integers' range.

    Returns:
        Whether all scales are positive and finite, and whether all zero points are whole and within the range; ``y``
        means nothing if not.
    """
    next_scale, next_zero = int(scale.size > 1), int(zero_point.size > 1)
    scale_is_usable = zero_point_is_usable = True
    for o in range(x.shape[0]):
        if x.shape[2] == 1:  # channels are neighbours in memory: the inner loop runs over them
            for c in range(x.shape[1]):
                s, z = scale[c * next_scale], np.float32(zero_point[c * next_zero])
                scale_is_usable &= 0 < s < np.inf
                zero_point_is_usable &= quant_min <= z <= quant_max and z == np.rint(z)
                y[o, c, 0] = _within(np.rint(x[o, c, 0] / s), quant_min - z, quant_max - z) * s
        else:
            for c in range(x.shape[1]):
                s, z = scale[c * next_scale], np.float32(zero_point[c * next_zero])
                scale_is_usable &= 0 < s < np.inf
                zero_point_is_usable &= quant_min <= z <= quant_max and z == np.rint(z)
                low, high = quant_min - z, quant_max - z
                for i in range(x.shape[2]):
                    y[o, c, i] = _within(np.rint(x[o, c, i] / s), low, high) * s
    return scale_is_usable, zero_point_is_usable


@inner
def _within(q, low, high):
    """``q`` clamped; NaN stays."""
    q = low if q < low else q
    return high if q > high else q


@loop
def sum_in_cells(x, sums, rest_bits):
    """Counts numbers by the first bits of ``|x|``, and sums up the rest of their bits; `format_search` tells what for.

    Args:
        x: float32 array of one dimension, below 2^29 numbers (else the last sum could overflow).
        sums: int64 array (cells, 3), to which are added: how many x are in the cell, the sum of the rests of their
            bits, and the sum of the squares of these.
        rest_bits: how many bits are the rest, at most 17.
    """
    for i in range(x.size):
        bits = _bits(x[i]) & np.int32(0x7FFFFFFF)
        cell = bits >> rest_bits
        rest = np.int64(bits & ((1 << rest_bits) - 1))
        sums[cell, 0] += 1
        sums[cell, 1] += rest
        sums[cell, 2] += rest * rest


# What `low_bit.xnor` has compiled.


@intrinsic
def _ones(context, x):
    """How many bits of a uint64 are 1: LLVM's own operation, a vector at a time where the processor can."""

    def generate(context, builder, _, given):
        return builder.ctpop(given[0])

    return x(x), generate


@loop
def xnor_products(rows, column, length, result):
    """``result[i]`` = the product of row i and the column, of +1 and -1, whose signs are the bits; equal bits pad.

    Args:
        rows, column: uint64 arrays (m, words) and (words,).
        length: elements of a row.
        result: int32 array (m,), written.
    """
    for i in range(rows.shape[0]):
        differing = np.uint64(0)
        for k in range(column.size):
            differing += _ones(rows[i, k] ^ column[k])
        result[i] = np.int64(length) - 2 * np.int64(differing)
