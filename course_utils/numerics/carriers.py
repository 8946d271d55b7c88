"""What carries numbers and codes: how torch's floats lie in memory, which dtypes hold a format's values, and refusals.

Stands on torch only.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

__all__ = [
    "LAYOUT",
    "holds",
    "integer_dtype",
    "power_of_two",
    "require_floating",
    "require_integers",
    "require_range",
]

LAYOUT = {torch.float32: (torch.int32, 23, 127), torch.float64: (torch.int64, 52, 1023)}
"""Of a float: the integer type of the same width, the bits of its mantissa, the bias of its exponent."""


def power_of_two(exponent: int) -> float:
    """2^exponent, exactly, as a Python float."""
    return math.ldexp(1.0, exponent)


def require_floating(x: Tensor) -> None:
    """Refuses everything but float16, bfloat16, float32 and float64.

    Raises:
        TypeError: naming the dtype found and what to do.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"x must be a torch.Tensor, not {type(x).__name__}: call torch.as_tensor(x) first")
    if x.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        raise TypeError(f"x must be a floating-point tensor, not {x.dtype}: call x.float() first")


@cache
def holds(dtype: torch.dtype, format) -> bool:
    """Whether a torch dtype carries every value of a format (one with significant_bits, largest, smallest)."""
    info = torch.finfo(dtype)
    fine_enough = 2.0 ** (1 - format.significant_bits) >= info.eps
    return fine_enough and format.largest <= info.max and format.smallest >= info.smallest_normal * info.eps


def integer_dtype(lowest: int, highest: int) -> torch.dtype:
    """The smallest of uint8, int8, int16, int32 and int64 that holds the range."""
    for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32):
        if torch.iinfo(dtype).min <= lowest and highest <= torch.iinfo(dtype).max:
            return dtype
    return torch.int64


def require_integers(codes: Tensor) -> Tensor:
    """Refuses everything but integers; returns them in a dtype that torch computes with.

    Raises:
        TypeError: if they are not integers.
    """
    if not isinstance(codes, Tensor) or codes.is_floating_point() or codes.is_complex() or codes.dtype == torch.bool:
        raise TypeError(f"codes must be a tensor of integers, not {getattr(codes, 'dtype', type(codes).__name__)}")
    return codes.long() if codes.dtype in (torch.uint16, torch.uint32, torch.uint64) else codes


def require_range(codes: Tensor, lowest: int, highest: int) -> None:
    """Refuses integers outside [lowest, highest].

    Raises:
        ValueError: with the smallest and the largest of them.
    """
    info = torch.iinfo(codes.dtype)
    if codes.numel() and (info.min < lowest or highest < info.max):
        smallest, largest = (int(v) for v in codes.aminmax())
        if smallest < lowest or highest < largest:
            raise ValueError(f"codes must be in [{lowest}, {highest}], not in [{smallest}, {largest}]")
