"""Walking through a large tensor: by one compiled loop where there is one, else in blocks that stay in the cache.

Stands on torch, and on `compiled` (numba) where numba is installed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import ModuleType

import torch
from torch import Tensor

__all__ = ["block_length", "compiled_loops", "in_blocks", "runs_compiled"]

COMPILED_FROM = 2**20  # elements; below, torch's own operations take a millisecond or two, and a compilation a second

# Few enough elements to stay in a core's cache from one operation to the next, and enough that what a call costs does
# not show: 2^16 to 2^20 were tried, at 4 and 16 million elements. A GPU wants few, large calls.
CPU_BLOCK, GPU_BLOCK = 2**18, 2**26


@cache
def compiled_loops() -> ModuleType | None:
    """The module `compiled`, or None where numba is missing."""
    try:
        from course_utils.numerics import compiled
    except ImportError:
        return None
    return compiled


def runs_compiled(x: Tensor, elements: int | None = None) -> bool:
    """Whether a compiled loop serves this tensor: float32, contiguous, on the CPU, and enough elements.

    Args:
        x: the tensor.
        elements: how many there are in all, if ``x`` is one of several tensors.
    """
    large = (x.numel() if elements is None else elements) >= COMPILED_FROM
    fits = x.dtype == torch.float32 and x.device.type == "cpu" and x.is_contiguous()
    return large and fits and compiled_loops() is not None


def block_length(x: Tensor) -> int:
    """How many elements to work on at a time."""
    return CPU_BLOCK if x.device.type == "cpu" else GPU_BLOCK


def in_blocks(work: Callable[[Tensor, Tensor], object], x: Tensor, compute: torch.dtype, result: torch.dtype) -> Tensor:
    """Applies an elementwise function block by block, so that its temporaries stay in the cache.

    Ten operations on a large tensor fetch it from memory ten times; ten operations on each block in turn fetch it once.

    Args:
        work: ``work(block, out)`` reads the one-dimensional ``block`` and writes ``out`` of the same length, both in
            dtype ``compute``. Once it has written to ``out`` it reads ``block`` no more: they may be the same memory.
        x: any shape and layout.
        compute, result: the dtypes to work in and to return.

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
    for block, out in zip(x.view(-1).split(size), y.view(-1).split(size), strict=True):
        if result == compute:
            work(block.to(compute), out)
        else:
            wide = block.to(compute, copy=True)
            work(wide, wide)
            out.copy_(wide)
    return y
