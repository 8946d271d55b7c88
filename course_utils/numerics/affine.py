"""Integer quantization: value = scale * (q - zero_point), with one scale per tensor, per channel or per block.

``quantize`` gives the integers q, ``dequantize`` their values, ``fake_quantize`` both in one go, without the integers.
``scale_and_zero_point`` chooses the two numbers from a range, ``value_range`` takes the range from data.

The quotient x / scale is a true division, as ONNX defines it. torch.fake_quantize multiplies by 1 / scale instead,
which is rounded already; so of four million values a few that lie close to a tie end up one step off.

In ``fake_quantize`` the zero point moves into the bounds: with r = round(x / scale), to clamp r + zero_point to
[quant_min, quant_max] and then subtract zero_point is to clamp r to [quant_min - zero_point, quant_max - zero_point].
Two operations less, and exact, because all of these are whole numbers below 2^24.

Where the scale belongs is told by two arguments that all functions share. ``axis``: one scale for each index along
that axis (per channel). ``block_size``: one for each run of that many neighbours along the last axis (per block).
Neither: one for all (per tensor).

Large float32 tensors on the CPU go through one compiled loop, all others through torch; the results are the same.
Stands on `rounding`, `carriers` and `chunks`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from course_utils.numerics.carriers import integer_dtype, require_floating, require_integers, require_range
from course_utils.numerics.chunks import block_length, compiled_loops, runs_compiled
from course_utils.numerics.rounding import Rounding, round_

__all__ = [
    "dequantize",
    "fake_quantize",
    "mse",
    "quant_range",
    "quantize",
    "scale_and_zero_point",
    "sqnr_db",
    "value_range",
]


def quant_range(num_bits: int = 8, signed: bool = False) -> tuple[int, int]:
    """(quant_min, quant_max): 0 and 2^num_bits - 1, or -2^(num_bits - 1) and 2^(num_bits - 1) - 1.

    Raises:
        ValueError: if ``num_bits`` is not 1 to 16 (2 to 16 with sign).
    """
    if not 1 + signed <= num_bits <= 16:
        raise ValueError(f"num_bits is {1 + signed} to 16, not {num_bits}")
    return (-(2 ** (num_bits - 1)), 2 ** (num_bits - 1) - 1) if signed else (0, 2**num_bits - 1)


def value_range(x: Tensor, *, axis: int | None = None, block_size: int | None = None) -> tuple[Tensor, Tensor]:
    """The smallest and the largest value of each tensor, channel or block.

    Args:
        x: floating point, not empty.
        axis, block_size: see the module's text.

    Returns:
        (minimum, maximum): in ``x``'s dtype; shape (), (channels,), or ``x``'s with the last axis divided by the block.
        NaN where there is a NaN.

    Raises:
        TypeError: if ``x`` is not a floating-point tensor.
        ValueError: if ``x`` is empty, or its last axis is not a multiple of ``block_size``.
    """
    require_floating(x)
    if x.numel() == 0:
        raise ValueError("an empty tensor has no range")
    rows, shape = _layout(x.shape, axis, block_size)
    minimum, maximum = x.detach().reshape(rows).aminmax(dim=2)
    return minimum.amin(dim=0).view(shape), maximum.amax(dim=0).view(shape)


def scale_and_zero_point(
    minimum: Tensor | float,
    maximum: Tensor | float,
    num_bits: int = 8,
    *,
    signed: bool = False,
    symmetric: bool = False,
) -> tuple[Tensor, Tensor]:
    """The scale and zero point with which the integers cover a range.

    The range is first widened to contain 0, so that 0 is represented exactly (padding and ReLU need that). A range of
    nothing but 0 gets scale 1.

    Args:
        minimum, maximum: the range, of any one shape.
        num_bits, signed: see `quant_range`.
        symmetric: zero point 0 and ``scale = max(|minimum|, |maximum|) / (2^(num_bits - 1) - 1)``; needs ``signed``.

    Returns:
        (scale, zero_point): float32 and int32, of the range's shape. The zero point is within the integers' range, and
        comes from the range itself, not from the scale that float32 has rounded: -1 to 1 in 8 bits has round(127.5)
        = 128, halves to even.

    Raises:
        ValueError: if the range is not finite, upside down, or ``symmetric`` without ``signed``.
    """
    # a tensor stays on its device: as_tensor would move it to the default one
    low, high = (v.detach().double() if isinstance(v, Tensor) else torch.tensor(v).double() for v in (minimum, maximum))
    if not bool((low.isfinite() & high.isfinite() & (low <= high)).all()):
        raise ValueError("the range must be finite, with minimum <= maximum")
    if symmetric and not signed:
        raise ValueError("symmetric quantization needs signed integers")
    low, high = low.clamp(max=0), high.clamp(min=0)
    quant_min, quant_max = quant_range(num_bits, signed)
    span, steps = (torch.maximum(-low, high), quant_max) if symmetric else (high - low, quant_max - quant_min)
    tiny = torch.finfo(torch.float32).smallest_normal  # keeps the scale of a subnormal range from becoming 0
    span = torch.where(span == 0, steps, span.clamp(min=tiny * steps))
    zero_point = quant_min - low * steps / span  # one rounding, so that a half is a half
    zero_point = torch.zeros_like(low) if symmetric else zero_point.round_().clamp_(quant_min, quant_max)
    return (span / steps).float(), zero_point.to(torch.int32)


def quantize(
    x: Tensor,
    scale: Tensor | float,
    zero_point: Tensor | int = 0,
    *,
    num_bits: int = 8,
    signed: bool = False,
    axis: int | None = None,
    block_size: int | None = None,
    rounding: Rounding = "nearest-even",
    generator: torch.Generator | None = None,
) -> Tensor:
    """q = round(x / scale) + zero_point, saturating.

    Args:
        x: floating point, any shape.
        scale, zero_point: positive numbers and whole numbers within the integers' range; shape () or (1,) per tensor,
            (channels,) per channel, ``x``'s with the last axis divided by ``block_size`` per block.
        num_bits, signed: see `quant_range`.
        axis, block_size: see the module's text.
        rounding, generator: see `rounding.round_`.

    Returns:
        Integers of ``x``'s shape, in the smallest integer dtype that holds their range.

    Raises:
        TypeError: if ``x`` is not a floating-point tensor.
        ValueError: if ``x`` has NaN, for which there is no integer; or if scale or zero point do not fit.
    """
    grid = _Grid(x, scale, zero_point, num_bits, signed, axis, block_size)
    dtype = integer_dtype(grid.quant_min, grid.quant_max)

    def work(block: Tensor, out: Tensor, s: Tensor, z: Tensor) -> None:
        q = round_(torch.div(block, s, out=out), rounding, generator)
        q.add_(z).clamp_(grid.quant_min, grid.quant_max)
        if q.isnan().any():
            raise ValueError("x has NaN, for which there is no integer")

    return grid.apply(work, x, dtype, grid.scale, grid.zero_point)


def dequantize(
    q: Tensor,
    scale: Tensor | float,
    zero_point: Tensor | int = 0,
    *,
    axis: int | None = None,
    block_size: int | None = None,
) -> Tensor:
    """The values of integers: scale * (q - zero_point).

    Args:
        q: integers, any shape.
        scale, zero_point, axis, block_size: as they were in `quantize`.

    Returns:
        float32 (float64 where ``scale`` is), ``q``'s shape.

    Raises:
        TypeError: if ``q`` are not integers.
        ValueError: if scale or zero point do not fit.
    """
    require_range(require_integers(q), -(2**31), 2**31 - 1)
    compute = torch.float64 if isinstance(scale, Tensor) and scale.dtype == torch.float64 else torch.float32
    rows, shape = _layout(q.shape, axis, block_size)
    parameters = (_parameter(p, shape, q.device, d) for p, d in ((scale, compute), (zero_point, torch.int64)))
    scale, zero_point = (p.view(1, -1, 1) for p in parameters)
    return ((q.reshape(rows) - zero_point).to(compute) * scale).view(q.shape)


def fake_quantize(
    x: Tensor,
    scale: Tensor | float,
    zero_point: Tensor | int = 0,
    *,
    num_bits: int = 8,
    signed: bool = False,
    axis: int | None = None,
    block_size: int | None = None,
    rounding: Rounding = "nearest-even",
    generator: torch.Generator | None = None,
) -> Tensor:
    """``dequantize(quantize(x, ...), ...)`` without the integers.

    Args:
        x, scale, zero_point, num_bits, signed, axis, block_size, rounding, generator: see `quantize`.

    Returns:
        A tensor of ``x``'s shape and dtype; NaN stays NaN, infinities saturate, and zeros may have either sign. No
        gradient.

    Raises:
        TypeError, ValueError: as `quantize`, but NaN is allowed.
    """
    require_floating(x)
    if rounding == "nearest-even" and x.dtype == torch.float32 and x.is_contiguous() and runs_compiled(x):
        return _fake_quantize_compiled(x, scale, zero_point, num_bits, signed, axis, block_size)

    grid = _Grid(x, scale, zero_point, num_bits, signed, axis, block_size)
    low, high = grid.quant_min - grid.zero_point, grid.quant_max - grid.zero_point
    one = grid.one_zero_point

    def work(block: Tensor, out: Tensor, s: Tensor, low: Tensor, high: Tensor) -> None:
        q = round_(torch.div(block, s, out=out), rounding, generator)  # all steps in the result's own memory
        if one is None:
            q.clamp_min_(low).clamp_max_(high)
        else:
            q.clamp_(grid.quant_min - one, grid.quant_max - one)
        q.mul_(s)

    return grid.apply(work, x, x.dtype, grid.scale, low, high)


def mse(x: Tensor, y: Tensor) -> float:
    """Mean squared error, E[(x - y)^2], in float64.

    Raises:
        ValueError: if the shapes differ, or the tensors are empty.
    """
    if x.shape != y.shape or x.numel() == 0:
        raise ValueError(f"the mean squared error needs two tensors of one shape, not {(*x.shape,)} and {(*y.shape,)}")
    return float((x.detach().double() - y.detach().double()).square_().mean())


def sqnr_db(x: Tensor, y: Tensor) -> float:
    """Signal to quantization noise ratio in decibels: 10 log10(E[x^2] / E[(x - y)^2]).

    Args:
        x: the signal.
        y: the same, quantized.

    Returns:
        Infinity if they are equal; minus infinity if ``x`` is zero and ``y`` is not.

    Raises:
        ValueError: see `mse`.
    """
    noise, signal = mse(x, y), mse(x, torch.zeros_like(x))
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


class _Grid:
    """The integers' bounds, and scale and zero point laid out beside a tensor.

    A tensor with a scale per channel is seen as (outer, channels, inner); per tensor as one channel, per block as one
    channel for each block. Scale and zero point then have the shape (1, channels, 1).
    """

    def __init__(self, x, scale, zero_point, num_bits, signed, axis, block_size):
        require_floating(x)
        self.quant_min, self.quant_max = quant_range(num_bits, signed)
        self.compute = torch.promote_types(x.dtype, torch.float32)
        self.rows, shape = _layout(x.shape, axis, block_size)
        parameters = (_parameter(p, shape, x.device, self.compute) for p in (scale, zero_point))
        self.scale, self.zero_point = (p.view(1, -1, 1) for p in parameters)
        smallest, largest = _extremes(self.scale, 1.0)
        lowest, highest = _extremes(self.zero_point, 0.0)
        integers = isinstance(zero_point, Tensor) and not zero_point.is_floating_point()
        whole = integers or bool((self.zero_point == self.zero_point.round()).all())
        usable = smallest > 0 and largest < math.inf, self.quant_min <= lowest and highest <= self.quant_max and whole
        _require(*usable, self.quant_min, self.quant_max)  # not usable if NaN, too
        self.one_zero_point = lowest if lowest == highest else None

    def apply(self, work, x: Tensor, result: torch.dtype, *parameters: Tensor) -> Tensor:
        """``work(block, out, *parameters)`` in dtype ``compute`` on blocks that stay in the cache.

        Each of ``parameters`` has the shape of scale and zero point; ``work`` gets what belongs to the block.
        """
        x = x.detach().contiguous()
        y = torch.empty_like(x, dtype=result)
        parameters = [p.expand(1, self.rows[1], 1) for p in parameters]
        for block, out, *beside in _pieces(block_length(x), x.view(self.rows), y.view(self.rows), *parameters):
            block = block.to(self.compute)
            wide = out if result == self.compute else torch.empty_like(block)
            work(block, wide, *beside)
            if wide is not out:
                out.copy_(wide)
        return y


def _fake_quantize_compiled(x, scale, zero_point, num_bits, signed, axis, block_size) -> Tensor:
    """`fake_quantize` by the compiled loop. It takes no longer than copying ``x``, so what is done around it counts: as
    little as can be, and the loop looks itself whether scale and zero point are usable."""
    bounds = quant_range(num_bits, signed)
    rows, shape = _layout(x.shape, axis, block_size)
    y = torch.empty_like(x.detach())
    source, target = (t.detach().numpy().reshape(rows) for t in (x, y))
    parameters = (
        _parameter(p, shape, x.device, p.dtype if p.dtype == torch.int32 else torch.float32).numpy()
        if isinstance(p, Tensor)
        else np.full(1, p, np.float32)
        for p in (scale, zero_point)
    )
    usable = compiled_loops().fake_quantize(source, target, *parameters, *map(np.float32, bounds))
    _require(*usable, *bounds)
    return y


def _require(scale_is_usable: bool, zero_point_is_usable: bool, quant_min: int, quant_max: int) -> None:
    if not scale_is_usable:
        raise ValueError("scale must be positive and finite")
    if not zero_point_is_usable:
        raise ValueError(f"zero_point must be whole numbers in [{quant_min}, {quant_max}]")


def _layout(
    sizes: tuple[int, ...], axis: int | None, block_size: int | None
) -> tuple[tuple[int, int, int], tuple[int, ...]]:
    """A tensor's shape as (outer, channels, inner), and the shape that scale and zero point have for their user."""
    if axis is not None and block_size is not None:
        raise ValueError("axis (per channel) and block_size (per block) exclude each other")
    if axis is not None:
        if not -len(sizes) <= axis < len(sizes):
            raise ValueError(f"axis {axis} is not one of a tensor of {len(sizes)} dimensions")
        axis %= len(sizes)
        return (math.prod(sizes[:axis]), sizes[axis], math.prod(sizes[axis + 1 :])), (sizes[axis],)
    if block_size is not None:
        if block_size < 1 or not sizes or sizes[-1] % block_size:
            raise ValueError(f"the last axis of {(*sizes,)} is not a multiple of block_size={block_size}")
        shape = (*sizes[:-1], sizes[-1] // block_size)
        return (1, math.prod(shape), block_size), shape
    return (1, 1, math.prod(sizes)), ()


def _extremes(values: Tensor, default: float) -> tuple[float, float]:
    """The smallest and the largest of ``values``, NaN if there is one; ``default`` twice if there are none."""
    if values.numel() == 1:
        return (values.item(),) * 2
    return tuple(v.item() for v in values.aminmax()) if values.numel() else (default, default)


def _parameter(value: Tensor | float, shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """A scale or zero point in one dimension: one for each channel, or one number that serves all."""
    # On the device of x, because torch multiplies a GPU tensor by the reciprocal of a number that is not.
    value = torch.as_tensor(value, dtype=dtype).detach().to(device)
    if tuple(value.shape) != shape and not (value.numel() == 1 and value.dim() <= 1):
        raise ValueError(f"scale and zero_point must be one number or of shape {shape}, not {(*value.shape,)}")
    return value.reshape(-1)


def _pieces(length: int, source: Tensor, target: Tensor, *parameters: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Cuts two tensors (outer, channels, inner) into pieces of at most ``length`` elements, and cuts tensors
    (1, channels, 1) along."""
    _, channels, inner = source.shape
    if 0 in source.shape:
        return
    inner_step = min(inner, length)
    channel_step = min(channels, length // inner_step)
    outer_step = length // (inner_step * channel_step) if channel_step == channels else 1
    for rows in _cut((source, target), outer_step, 0):
        for source_, target_, *beside in _cut((*rows, *parameters), channel_step, 1):
            for piece in _cut((source_, target_), inner_step, 2):
                yield *piece, *beside


def _cut(tensors: tuple[Tensor, ...], step: int, axis: int) -> Iterable[tuple[Tensor, ...]]:
    """All of them, cut alike. `split` makes its views in one call, in a fraction of the time of as many slices."""
    if tensors[0].shape[axis] <= step:
        return [tensors]
    return zip(*(t.split(step, axis) for t in tensors), strict=True)
