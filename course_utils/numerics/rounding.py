"""Rounding to whole numbers, in four ways.

Every number system of this kit rounds the same way: divide by the distance between neighbours, round to a whole number,
multiply back. `formats` and `affine` bring the distance; the whole numbers are here. Stands on torch only.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

__all__ = ["ROUNDINGS", "Overflow", "Rounding", "require_overflow", "require_rounding", "round_"]

Rounding = Literal["nearest-even", "nearest-away", "toward-zero", "stochastic"]
ROUNDINGS: tuple[str, ...] = get_args(Rounding)
Overflow = Literal["saturate", "infinity"]


def round_(q: Tensor, rounding: Rounding = "nearest-even", generator: torch.Generator | None = None) -> Tensor:
    """Rounds to whole numbers, in place. NaN, infinities and the sign of zero stay.

    Args:
        q: float32 or float64, any shape.
        rounding: what happens between two whole numbers. ``"nearest-even"`` (IEEE 754's default): the nearer one, and
            of two equally near the even one. ``"nearest-away"``: of two equally near the one further from zero.
            ``"toward-zero"``: the one nearer to zero. ``"stochastic"``: the one further from zero with a probability
            equal to the fraction, so that the mean is ``q`` (to 2^-24, the steps of ``torch.rand``).
        generator: for ``"stochastic"``; torch's default one if None.

    Returns:
        ``q`` itself.

    Raises:
        ValueError: for another ``rounding``.
    """
    if rounding == "nearest-even":
        return q.round_()
    require_rounding(rounding)
    size = q.abs()
    if rounding == "toward-zero":
        size.floor_()
    elif rounding == "nearest-away":
        # One bit less than a half: 0.49999997 + 0.5 would itself be rounded, up to 1. Adding the number just below a
        # half brings every fraction of a half or more up to the next whole number, and no other.
        size.add_(0.5 - torch.finfo(q.dtype).eps / 4).floor_()
    else:
        whole = size.floor()
        chance = size.sub_(whole)  # exact: a fraction has no more digits than the number it is cut from
        draw = torch.rand(q.shape, generator=generator, dtype=q.dtype, device=q.device)
        size = whole.add_(torch.lt(draw, chance, out=draw))
    return torch.copysign(size, q, out=q)


def require_rounding(rounding: str) -> None:
    """Refuses everything but `ROUNDINGS`.

    Raises:
        ValueError: naming them.
    """
    if rounding not in ROUNDINGS:
        raise ValueError(f"rounding is one of {', '.join(ROUNDINGS)}; not {rounding!r}")


def require_overflow(overflow: str, allowed: tuple[str, ...] = get_args(Overflow)) -> None:
    """Refuses everything but ``allowed``.

    Raises:
        ValueError: naming them.
    """
    if overflow not in allowed:
        raise ValueError(f"overflow is one of {', '.join(allowed)}; not {overflow!r}")
