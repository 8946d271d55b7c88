"""A value for the way forward, a slope for the way back: what every method of one or two bits is trained with.

A rounded number's true gradient is 0 nearly everywhere. Each paper says what is put in its place.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["sign", "straight_through"]


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, value: Tensor, slope: Tensor | None) -> Tensor:
        ctx.save_for_backward(slope)
        return value.view_as(value)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        (slope,) = ctx.saved_tensors
        return gradient if slope is None else gradient * slope, gradient, None


def straight_through(x: Tensor, value: Tensor, slope: Tensor | None = None) -> Tensor:
    """``value``, bit for bit, whose gradient reaches ``x`` as it is, or times ``slope``.

    Args:
        x: floating point, where the gradient goes.
        value: of ``x``'s shape and dtype. If it depends on parameters of its own (TTQ's scales), their gradients are
            the true ones; what it shares with ``x`` should be detached.
        slope: of a shape that broadcasts to ``x``'s; None is 1.
    """
    return _StraightThrough.apply(x, value, slope)


def sign(x: Tensor) -> Tensor:
    """+1 where ``x`` >= 0, else -1, in ``x``'s dtype: there is no third value. NaN becomes -1."""
    return (x >= 0).to(x.dtype) * 2 - 1
