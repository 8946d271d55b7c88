"""Number formats: floating point of any exponent and mantissa width, fixed point, dynamic fixed point.

A format is a small immutable description. ``FloatFormat(exponent_bits=3, mantissa_bits=4)`` has the methods
``values()`` (its number line), ``encode`` and ``decode`` (between numbers and bit patterns) and ``quantize`` (each
number to a neighbour that the format holds). Everything is exact: every result is a value of the format, and with the
default rounding no other value is nearer to the input.

How the rounding works
----------------------
A float format with m mantissa bits holds, in the binade [2^e, 2^(e+1)), the multiples of step = 2^(e-m). Below its
first normal binade, which begins at 2^emin, the step stays what it is there: those are the subnormals. To round x:

1. *The binade.* A float32 is sign, exponent and mantissa side by side; with sign and mantissa bits masked off, what
   remains is 2^e with ``2^e <= |x| < 2^(e+1)``. No logarithm, no loop. Clamped from below to 2^emin, it serves
   subnormals.
2. *The step.* Multiply by 2^-m.
3. *In units of the step.* q = x / step. Exact, because step is a power of two: only the exponent changes.
4. *To a whole number.* Round q; the tie goes to the even number, as IEEE 754 has it.
5. *Back.* q * step, exact again. If q was rounded up to 2^(m+1) this is the first value of the next binade, as it
   should be. What exceeds the largest value is clamped, then or before step 1: rounding keeps the order of numbers and
   leaves the largest value where it is, so both give the same.

Only step 4 rounds, so the whole is one correct rounding.

Rounding by adding a large power of two
---------------------------------------
Step 4 needs no rounding instruction. In [2^23, 2^24] neighbouring float32 numbers are exactly 1 apart, so for
0 <= q <= 2^23 the sum q + 2^23 has no room for a fraction: the addition itself must round it away, and the hardware's
addition rounds to nearest, ties to the even number. (The sum is even where the rounded q is, because 2^23 is.)
Subtracting 2^23 again is exact: the difference of two whole numbers up to 2^24 is one. Hence (q + 2^23) - 2^23 is q,
rounded. With C = 1.5 * 2^23 it holds for both signs: ``|q| <= 2^22`` keeps q + C within [2^23, 2^24], where the
distance is still 1.

Steps 2 to 5 then merge. Multiplying by a power of two commutes with rounding, so instead of scaling x to whole numbers
one may scale C to x: with E the clamped binade and c = C * 2^-m = 1.5 * 2^(23-m)::

    (x + c*E) - c*E    is x, rounded to m mantissa bits, subnormals included.

One addition and one subtraction, in any language. It has three limits: ``|q| <= 2^(m+1)`` must stay within 2^22, so
m <= 21; c*E must not overflow, which it does for 8 exponent bits; and -0.0, or -0.1 rounded to zero, comes out as 0.0.
Rounding q itself has none of them, so that is what `quantize` does; a test holds it against the sum. Where only the
error counts and not the sign of zero, the sum serves as it is (`format_search`). `encode` has the sign apart, and adds
to x / E, which cannot overflow; what it adds makes the sum's mantissa the code (docs/bits.md).

With no mantissa bit at all (m = 0) all values are powers of two, q is 1 at all of them, and "even" is decided by the
last bit of the code, which is now the exponent's.

What is defined where formats differ
------------------------------------
- NaN stays NaN. Zeros keep their sign, and so does what is rounded to zero.
- ``overflow="saturate"`` (default): what rounds beyond the largest value, infinities too, becomes the largest value.
- ``overflow="infinity"``: it becomes infinity in a format that has it, NaN in a format that has only that.
- ``subnormals=False``: results below the smallest normal value become zero, after rounding.
- Results have the input's dtype where that holds every value of the format, else float32 (float64 for float64 inputs,
  and for fixed point of more than 24 bits). They carry no gradient.

Large tensors on the CPU go through one compiled loop (`compiled`, which says why it is numba's), all others through
torch: in blocks that stay in the cache, or, many float16 or bfloat16 without numba, through a table of all 2^16.
The results are bit for bit the same. Only stochastic rounding draws other random numbers there; with the same state of
the generator, on the same way, it draws the same.

Stands on `rounding`, `carriers`, `chunks`, `fixed_point`, `exponent_format`. Sources: IEEE 754-2019;
OCP 8-bit floating point specification (OFP8) 1.0; OCP microscaling formats (MX) 1.0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from course_utils.numerics.carriers import LAYOUT, holds, power_of_two, require_floating
from course_utils.numerics.chunks import decoded, encoded, may_have_nan, quantized, require_no_nan
from course_utils.numerics.exponent_format import ExponentFormat
from course_utils.numerics.fixed_point import DynamicFixedPoint, FixedPoint
from course_utils.numerics.rounding import Overflow, Rounding, require_overflow, require_rounding, round_

__all__ = ["FORMATS", "DynamicFixedPoint", "ExponentFormat", "FixedPoint", "FloatFormat", "Overflow", "Rounding"]

Specials = Literal["ieee", "fn", "none"]


@dataclass(frozen=True)
class FloatFormat:
    """A floating-point format: one sign bit, then the exponent, then the mantissa.

    Attributes:
        exponent_bits: 1 to 8.
        mantissa_bits: 0 to 23, without the leading one that normal values do not store.
        bias: a normal value is 2^(exponent - bias) * (1 + mantissa / 2^mantissa_bits). None: 2^(exponent_bits - 1) - 1.
        specials: what the largest exponent is for. ``"ieee"``: reserved, infinity where the mantissa is zero and NaN
            elsewhere. ``"fn"``: for numbers, except NaN where all bits are one (OCP e4m3). ``"none"``: for numbers
            (OCP e2m3, e3m2, e2m1).
        subnormals: whether exponent 0 stands for mantissa * 2^(1 - bias - mantissa_bits), or for zero.

    Raises:
        ValueError: if float32 does not carry all its values, or if it has no value but zero.
    """

    exponent_bits: int
    mantissa_bits: int
    bias: int | None = None
    specials: Specials = "ieee"
    subnormals: bool = True

    def __post_init__(self) -> None:
        if not (1 <= self.exponent_bits <= 8 and 0 <= self.mantissa_bits <= 23):
            raise ValueError(f"{self}: exponent_bits is 1 to 8 and mantissa_bits 0 to 23")
        if self.specials not in get_args(Specials):
            raise ValueError(f"specials is one of {', '.join(get_args(Specials))}; not {self.specials!r}")
        if self.bias is None:
            object.__setattr__(self, "bias", 2 ** (self.exponent_bits - 1) - 1)
        if self.min_exponent < -126 or self.max_exponent > 127:
            raise ValueError(f"{self} with bias {self.bias} has values that float32 does not carry")
        if self.largest == 0 or (not self.subnormals and self.largest < self.smallest_normal):
            raise ValueError(f"{self} has no value but zero")

    def __str__(self) -> str:
        return f"e{self.exponent_bits}m{self.mantissa_bits}"

    # What follows from the fields.

    @property
    def bits(self) -> int:
        """Length of a code."""
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def dtype(self) -> torch.dtype:
        """float32, which carries every value."""
        return torch.float32

    @property
    def significant_bits(self) -> int:
        """Binary digits of a normal value, the leading one included."""
        return self.mantissa_bits + 1

    @property
    def min_exponent(self) -> int:
        """Exponent of the smallest normal value, and of the subnormals."""
        return 1 - self.bias

    @property
    def max_exponent(self) -> int:
        """Exponent of the largest value."""
        return max(self._largest_code >> self.mantissa_bits, 1) - self.bias

    @property
    def largest(self) -> float:
        """The largest finite value."""
        normal = self._largest_code >> self.mantissa_bits > 0
        mantissa = self._largest_code % 2**self.mantissa_bits + normal * 2**self.mantissa_bits
        return math.ldexp(mantissa, self.max_exponent - self.mantissa_bits)

    @property
    def smallest_normal(self) -> float:
        """The smallest positive value that is not subnormal."""
        return power_of_two(self.min_exponent)

    @property
    def smallest(self) -> float:
        """The smallest positive value."""
        return power_of_two(self.min_exponent - self.mantissa_bits) if self.subnormals else self.smallest_normal

    @property
    def has_infinity(self) -> bool:
        """Whether a code stands for infinity."""
        return self.specials == "ieee"

    @property
    def has_nan(self) -> bool:
        """Whether a code stands for NaN."""
        return self.specials == "fn" or (self.specials == "ieee" and self.mantissa_bits > 0)

    @property
    def code_range(self) -> tuple[int, int]:
        """The lowest and the highest code."""
        return 0, 2**self.bits - 1

    @property
    def code_dtype(self) -> torch.dtype:
        """Of what `encode` returns."""
        return torch.uint8 if self.bits <= 8 else torch.int32 if self.bits <= 31 else torch.int64

    @property
    def _beyond_code(self) -> int:
        """The code, without sign, of what overflows to infinity or NaN."""
        return self._largest_code + 1 if self.has_infinity else self._nan_code

    @property
    def _largest_code(self) -> int:
        """The code of the largest value: codes without the sign bit are in the order of their values."""
        special_codes = {"ieee": 2**self.mantissa_bits, "fn": 1, "none": 0}[self.specials]
        return 2 ** (self.bits - 1) - 1 - special_codes

    @property
    def _nan_code(self) -> int:
        """The code of NaN without sign: exponent and the mantissa's first bit (ieee), or all bits (fn)."""
        top = 2 ** (self.bits - 1) - 1
        return top if self.specials == "fn" else top - top % 2**self.mantissa_bits + 2**self.mantissa_bits // 2

    # The four methods.

    def values(self) -> Tensor:
        """Every finite value, ascending, zero once.

        Returns:
            float32, shape (n,).

        Raises:
            ValueError: for a format of more than 24 bits.
        """
        if self.bits > 24:
            raise ValueError(f"{self} has 2^{self.bits} codes, too many for a table")
        positive = self.decode(torch.arange(self._largest_code + 1)).unique()
        return torch.cat([-positive[1:].flip(0), positive])

    def quantize(
        self,
        x: Tensor,
        rounding: Rounding = "nearest-even",
        overflow: Overflow = "saturate",
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Each number to a value of the format.

        Args:
            x: floating point, any shape.
            rounding: ``"nearest-even"``, ``"nearest-away"``, ``"toward-zero"`` or ``"stochastic"``; see
                `rounding.round_`.
            overflow: ``"saturate"`` or ``"infinity"``; see the module's text. Rounding toward zero, a finite number
                never overflows.
            generator: for stochastic rounding.

        Returns:
            A tensor of ``x``'s shape; the module's text says which dtype.

        Raises:
            TypeError: if ``x`` is not a floating-point tensor.
            ValueError: for an unknown ``rounding`` or ``overflow``, or if the format has nothing to overflow to.
        """
        self._require(x, rounding, overflow)
        compute = torch.promote_types(x.dtype, torch.float32)

        def work(block: Tensor, out: Tensor) -> None:
            self._quantize_block(block, out, rounding, overflow, generator)

        result = x.dtype if holds(x.dtype, self) else compute
        return quantized(self, x, rounding, overflow, generator, compute, result, work)

    def encode(
        self,
        x: Tensor,
        rounding: Rounding = "nearest-even",
        overflow: Overflow = "saturate",
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The bit patterns of ``quantize(x, ...)``: sign, exponent, mantissa from the highest bit to the lowest.

        Args:
            x, rounding, overflow, generator: see `quantize`.

        Returns:
            uint8 for formats of up to 8 bits, int32 up to 31 bits, else int64; ``x``'s shape. NaN keeps its sign.

        Raises:
            TypeError, ValueError: see `quantize`; and ValueError if ``x`` has NaN and the format has not.
        """
        self._require(x, rounding, overflow)
        compute = torch.promote_types(x.dtype, torch.float32)

        def work(block: Tensor, out: Tensor) -> None:
            self._encode_block(block, out, rounding, overflow, generator)
            if may_have_nan(block) and (nan := block.isnan()).any():
                require_no_nan(self)
                code = self._nan_code + block.signbit() * 2 ** (self.bits - 1)
                out.copy_(torch.where(nan, code, out))

        return encoded(self, x, rounding, overflow, generator, compute, work)

    def decode(self, codes: Tensor) -> Tensor:
        """The values of bit patterns.

        Args:
            codes: integers in [0, 2^bits), any shape.

        Returns:
            float32, the same shape.

        Raises:
            TypeError: if ``codes`` are not integers.
            ValueError: if a code is out of range.
        """
        return decoded(self, codes)

    # What they share.

    def _require(self, x: Tensor, rounding: Rounding, overflow: Overflow) -> None:
        """Refuses what `quantize` refuses."""
        require_floating(x)
        require_rounding(rounding)
        require_overflow(overflow)
        if overflow == "infinity" and not (self.has_infinity or self.has_nan):
            raise ValueError(f"{self} has neither infinity nor NaN to overflow to; use overflow='saturate'")

    def _quantize_block(self, block: Tensor, out: Tensor, rounding, overflow, generator) -> None:
        """See `quantize`; ``block`` and ``out``, which may be the same, are float32 or float64."""
        saturate = overflow == "saturate"
        q = torch.clamp(block, -self.largest, self.largest, out=out) if saturate else block.clone()
        step = self._binade(q).mul_(power_of_two(-self.mantissa_bits))
        q.div_(step)
        if self.mantissa_bits == 0 and rounding == "nearest-even":
            # 1.5 must go to 1 where the code of that power of two is even: then a trifle is taken off all numbers.
            integer, mantissa_bits, bias = LAYOUT[q.dtype]
            even = (step.view(integer) >> mantissa_bits).sub_(self.min_exponent + bias).bitwise_and_(1)
            q.mul_(((bias << mantissa_bits) - even).view(q.dtype))  # 1.0, or the number below it
        round_(q, rounding, generator).mul_(step)
        if not self.subnormals:
            q.mul_(q.abs() >= self.smallest_normal)
        if saturate:
            return
        if q.numel() and not q.abs().amax() <= self.largest:  # something overflows, or is NaN
            if rounding == "toward-zero":
                q = torch.where(block.isinf(), block, q.clamp_(-self.largest, self.largest))
            beyond = torch.full_like(q, math.inf if self.has_infinity else math.nan)
            q = torch.where(q.abs() > self.largest, beyond.copysign_(q), q)
        out.copy_(q)

    def _encode_block(self, block: Tensor, out: Tensor, rounding, overflow, generator, room=None) -> None:
        """See `encode`; ``block`` is float32 or float64, and what becomes of NaN is left open.

        ``room`` has ``block``'s size and dtype, and may be ``block`` itself; it is overwritten.
        """
        if self.bits > 24:
            block, room = block.double(), None  # float32's mantissa has no room for the code
        integer, mantissa_bits, bias = LAYOUT[block.dtype]
        drop = mantissa_bits - self.mantissa_bits
        limit = min(2.0 ** (self.max_exponent + 1), torch.finfo(block.dtype).max)  # rounds to what overflows
        limit = self.largest if overflow == "saturate" else limit
        q = torch.clamp(block, -limit, limit, out=room)
        negative = q.view(integer) >> (8 * block.itemsize - 1)  # -1 or 0
        binade = self._binade(q.abs_())
        q.div_(binade)
        if rounding != "nearest-even":
            round_(q.mul_(2.0**self.mantissa_bits), rounding, generator).mul_(2.0**-self.mantissa_bits)
        # "The addition that rounds" of docs/bits.md.
        first = (drop + bias) << mantissa_bits  # the bits of 2^drop, from where on neighbours are a step apart
        below = binade.view(integer).bitwise_right_shift_(drop)
        below.add_(first - ((self.min_exponent + bias) << self.mantissa_bits))
        code = q.add_(below.view(q.dtype)).view(integer)
        if not self.subnormals:
            code.masked_fill_(code < first + 2**self.mantissa_bits, first)
        if overflow == "infinity":
            finite = self._largest_code if rounding == "toward-zero" else self._beyond_code
            code = torch.where(code > first + self._largest_code, first + finite, code)
            code = torch.where(block.isinf(), first + self._beyond_code, code)
        if out.dtype != torch.uint8:  # which takes the lowest 8 bits, and first has none of them
            code.sub_(first)
        out.copy_(code.sub_(negative, alpha=2 ** (self.bits - 1)))

    def _binade(self, x: Tensor) -> Tensor:
        """For each element the power of two that begins its binade, within the format's normal binades."""
        integer, mantissa_bits, bias = LAYOUT[x.dtype]
        exponent = (2 * bias + 1) << mantissa_bits  # all of its bits
        binade = (x.view(integer) & exponent).view(x.dtype)
        return binade.clamp_(power_of_two(self.min_exponent), power_of_two(self.max_exponent))

    def _values(self, codes: Tensor) -> Tensor:
        """See `decode`."""
        magnitude = codes.long() & (2 ** (self.bits - 1) - 1)
        binade = ((magnitude >> self.mantissa_bits) - 1).clamp_min_(0)
        steps = magnitude - (binade << self.mantissa_bits)  # 2^m + mantissa, or the mantissa of a subnormal
        power = (binade + (self.min_exponent - self.mantissa_bits + 1023)) << 52
        value = steps.double() * power.view(torch.float64)
        if not self.subnormals:
            value[magnitude < 2**self.mantissa_bits] = 0.0
        value[magnitude > self._largest_code] = torch.nan
        if self.has_infinity:
            value[magnitude == self._largest_code + 1] = torch.inf
        return torch.where(magnitude == codes, value, -value).float()

    def _compiled(self, loops, real: type, rounding: Rounding, overflow: Overflow):
        return loops.float_format(self, real, rounding, overflow)

    def _compiled_codes(self, loops):
        return loops.float_codes(self)


FORMATS: dict[str, FloatFormat | ExponentFormat] = {
    "float32": FloatFormat(8, 23),
    "float16": FloatFormat(5, 10),
    "bfloat16": FloatFormat(8, 7),
    "e5m2": FloatFormat(5, 2),
    "e4m3": FloatFormat(4, 3, specials="fn"),  # OCP's; the IEEE-style one is FloatFormat(4, 3)
    "e3m4": FloatFormat(3, 4),
    "e2m3": FloatFormat(2, 3, specials="none"),
    "e3m2": FloatFormat(3, 2, specials="none"),
    "e2m1": FloatFormat(2, 1, specials="none"),
    "e8m0": ExponentFormat(),
}
