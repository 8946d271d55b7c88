"""Walking through a large tensor: by one compiled loop where there is one, else in blocks that stay in the cache.

Stands on torch, and on `compiled` (numba) where numba is installed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, lru_cache
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from course_utils.numerics.carriers import require_integers, require_range

__all__ = [
    "REAL",
    "block_length",
    "compiled_loops",
    "decoded",
    "draw_key",
    "empty",
    "encoded",
    "in_blocks",
    "in_slices",
    "largest_finite",
    "may_have_nan",
    "quantized",
    "require_no_nan",
    "runs_compiled",
]

COMPILED_FROM = 2**20  # elements; below, torch's own operations take a millisecond or two, and a compilation a second

SLICE = 2**14  # elements, which take a thread about ten microseconds; a power of two

# Few enough elements to stay in a core's cache from one operation to the next, and enough that what a call costs does
# not show: 2^16 to 2^20 were tried, at 4 and 16 million elements. A GPU wants few, large calls.
CPU_BLOCK, GPU_BLOCK = 2**19, 2**26

REAL = {torch.float32: np.float32, torch.float64: np.float64}
BITS = {torch.float16: torch.int16, torch.bfloat16: torch.uint16}  # for numba, which has neither


@cache
def compiled_loops() -> ModuleType | None:
    """The module `compiled`, or None where numba is missing."""
    try:
        from course_utils.numerics import compiled
    except ImportError:
        return None
    return compiled


def runs_compiled(x: Tensor, elements: int | None = None) -> bool:
    """Whether a compiled loop serves this tensor: of numbers, on the CPU, and enough elements.

    Args:
        x: the tensor.
        elements: how many there are in all, if ``x`` is one of several tensors.
    """
    large = (x.numel() if elements is None else elements) >= COMPILED_FROM
    if not (large and x.is_cpu and compiled_loops()):
        return False
    return x.dtype != torch.float16 or compiled_loops().HAS_HALF


def largest_finite(x: Tensor, signed: bool = True) -> float:
    """The largest magnitude of the finite numbers (the largest number, if not ``signed``); 0 if none is above."""
    x = x.detach()
    if runs_compiled(x):
        infinity = REAL[torch.promote_types(x.dtype, torch.float32)](math.inf)
        bits = in_slices("largest_finite", x, infinity, signed)
        return float(np.int64(bits).view(np.float64))
    largest = 0.0
    for block in x.reshape(-1).split(block_length(x)) if x.numel() else ():
        size = block.abs() if signed else block
        found = float(size.amax())
        largest = max(largest, found if math.isfinite(found) else float(size.nan_to_num(0.0, 0.0, 0.0).amax()))
    return largest


def draw_key(rounding: str, generator: torch.Generator | None) -> np.uint64 | None:
    """What a compiled loop makes its random numbers from: 63 random bits for stochastic rounding, else None."""
    if rounding != "stochastic":
        return None
    return np.uint64(torch.empty((), dtype=torch.int64).random_(generator=generator).item())


def quantized(f, x: Tensor, rounding, overflow, generator, compute: torch.dtype, result: torch.dtype, work) -> Tensor:
    """``f.quantize(x, ...)``: by a compiled loop; or else by ``work`` in blocks (see `in_blocks`), or looked up.

    Args:
        f: a format, of which ``f._compiled(loops, real, rounding, overflow)`` is what the loop wants to know.
        x, rounding, overflow, generator: of `quantize`.
        compute, result: the dtypes to work in and to return.
    """
    if not runs_compiled(x):
        if _has_few_numbers(x, rounding):
            return _of_each_number(f.quantize, x, rounding, overflow)
        return in_blocks(work, x, compute, result)
    y, numbers = empty(x.shape, result)
    described = f._compiled(compiled_loops(), REAL[compute], rounding, overflow)
    key = draw_key(rounding, generator)
    in_slices("quantize", x, numbers, described, key)
    return y


def encoded(f, x: Tensor, rounding, overflow, generator, compute: torch.dtype, work) -> Tensor:
    """``f.encode(x, ...)``, as `quantized`.

    Raises:
        ValueError: if ``x`` has NaN and the format has not.
    """
    if not runs_compiled(x) or f.bits > 31:
        if f.has_nan and _has_few_numbers(x, rounding):
            return _of_each_number(f.encode, x, rounding, overflow)
        return in_blocks(work, x, compute, f.code_dtype)
    y, codes = empty(x.shape, f.code_dtype)
    described = f._compiled(compiled_loops(), REAL[compute], rounding, overflow)
    key = draw_key(rounding, generator)
    if in_slices("encode", x, codes, described, key):
        require_no_nan(f)
    return y


def may_have_nan(x: Tensor) -> bool:
    """False if there is none: a NaN makes the sum NaN, and adding up is ten times as fast as looking at each number."""
    return bool(x.sum().isnan())


def require_no_nan(f) -> None:
    """Called where there is a NaN.

    Raises:
        ValueError: if a format has none.
    """
    if not f.has_nan:
        raise ValueError(f"{f} has no code for NaN")


def decoded(f, codes: Tensor) -> Tensor:
    """``f.decode(codes)``: by a compiled loop; or else by looking them up in a table, up to 16 bits.

    Raises:
        TypeError: if ``codes`` are not integers.
        ValueError: if one is out of the format's ``code_range``.
    """
    codes = require_integers(codes)
    if runs_compiled(codes) and f.bits <= 31:
        (y, numbers), described = empty(codes.shape, f.dtype), f._compiled_codes(compiled_loops())
        if in_slices("decode", codes, numbers, described):
            require_range(codes, *f.code_range)
        return y
    require_range(codes, *f.code_range)
    if f.bits > 16 or f.code_range[0] < 0:
        return f._values(codes)
    return _looked_up(_table(f).to(codes.device), codes)


@cache
def _table(f) -> Tensor:
    """The values of all codes."""
    return f._values(torch.arange(2**f.bits))


def _has_few_numbers(x: Tensor, rounding: str) -> bool:
    """Whether each of the 2^16 numbers of ``x``'s dtype may as well be rounded once, and then be looked up."""
    return x.dtype.itemsize == 2 and rounding != "stochastic" and x.device.type == "cpu" and x.numel() > 2**18


def _of_each_number(method: Callable, x: Tensor, rounding: str, overflow: str) -> Tensor:
    """``method(x, rounding, overflow)`` of a format, looked up."""
    table = _table_of_numbers(method, x.dtype, rounding, overflow)
    return _looked_up(table, x.detach().contiguous().view(torch.uint16))


@lru_cache(64)
def _table_of_numbers(method: Callable, dtype: torch.dtype, rounding: str, overflow: str) -> Tensor:
    return method(torch.arange(2**16, dtype=torch.int32).to(torch.uint16).view(dtype), rounding, overflow)


def _looked_up(table: Tensor, indices: Tensor) -> Tensor:
    """``table[indices]``; indices in any integer dtype."""

    def work(block: Tensor, out: Tensor) -> None:
        torch.index_select(table, 0, block.int(), out=out)

    return in_blocks(work, indices, indices.dtype, table.dtype)


def in_slices(loop: str, x: Tensor, *more, unit: int = 1) -> int:
    """Runs a compiled loop on a tensor; if it is longer than a slice, on several threads, which share out the slices.

    The results are the same. How many threads is what torch has been told (``torch.set_num_threads``), which is one
    while grading.

    Args:
        loop: its name in `compiled`.
        x: on the CPU.
        more: the loop's other arguments, arrays of one dimension (see `empty`) among them.
        unit: no slice ends within so many elements, a power of two.

    Returns:
        The largest of what the slices found; 0 if nothing.
    """
    length = max(SLICE, unit)
    threads = min(torch.get_num_threads(), -(-x.numel() // length))
    return compiled_loops().run(loop, threads, _numbers(x), *more, compiled_loops().slices(length))


def empty(shape: torch.Size, dtype: torch.dtype) -> tuple[Tensor, np.ndarray]:
    """A tensor to be filled, and its numbers in one dimension.

    Its memory is numpy's: getting fresh pages takes longer than the loop. Unlike torch, numpy asks for huge ones, and
    for memory that is not aligned, which glibc takes more surely from what was freed. Such a tensor cannot be resized.
    """
    numbers = np.empty(math.prod(shape), _numpy_dtype(dtype))
    tensor = torch.from_numpy(numbers.reshape(shape))
    return tensor.view(dtype) if dtype in BITS else tensor, numbers


@cache
def _numpy_dtype(dtype: torch.dtype) -> np.dtype:
    return np.dtype(str(BITS.get(dtype, dtype)).removeprefix("torch."))


def _numbers(x: Tensor) -> np.ndarray:
    """A tensor's numbers in one dimension."""
    x = (x.detach() if x.requires_grad else x).contiguous()
    return (x.view(BITS[x.dtype]) if x.dtype in BITS else x).numpy().reshape(-1)


def block_length(x: Tensor) -> int:
    """How many elements to work on at a time."""
    return CPU_BLOCK if x.device.type == "cpu" else GPU_BLOCK


def in_blocks(work: Callable, x: Tensor, compute: torch.dtype, result: torch.dtype, *beside: Tensor) -> Tensor:
    """Applies an elementwise function block by block, so that its temporaries stay in the cache.

    Ten operations on a large tensor fetch it from memory ten times; ten operations on each block in turn fetch it once.

    Args:
        work: ``work(block, out, *beside)`` reads the one-dimensional ``block`` in dtype ``compute`` and writes
            ``out``, in dtype ``compute`` if both are floats, else ``result``. Once it has written to ``out`` it reads
            ``block`` no more: they may be the same memory.
        x: any shape and layout.
        compute, result: the dtypes to work in and to return.
        beside: with one number for so many elements of ``x``; `work` gets those that belong to the block.

    Returns:
        A contiguous tensor of ``x``'s shape, without gradient.
    """
    x = x.detach()
    if not x.is_contiguous():
        x = x.contiguous()
        y = x if x.dtype == result else torch.empty_like(x, dtype=result)
    else:
        y = torch.empty_like(x, dtype=result)
    size = block_length(x)
    cut = [t.reshape(-1).split(size * t.numel() // max(1, x.numel())) for t in (x, y, *beside)]
    for block, out, *more in zip(*cut, strict=True):
        if result == compute or not (result.is_floating_point and compute.is_floating_point):
            work(block.to(compute), out, *more)
        else:
            wide = block.to(compute, copy=True)
            work(wide, wide, *more)
            out.copy_(wide)
    return y
