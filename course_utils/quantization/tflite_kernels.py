"""The layers of an 8-bit network as TFLite's reference kernels compute them, bit for bit: whole numbers in and out.

A kernel is made once, from weights and grids, and then called with codes; between codes there are whole numbers only.
Where its own choices are free, TFLite's are taken, even odd ones:

- M = s_x s_w / s_y is written as multiplier * 2^-shift with 31 bits, halves away from zero, and 0 below 2^-32.
  `quantized_multiplier`. For uint8, and for fully connected layers with one scale, s_x s_w is rounded to float32 first.
- acc M rounds twice, as gemmlowp does: `integer_layers.requantize_twice`.
- "SAME" pads what is needed for ceil(side / stride) outputs; an odd cell goes below and to the right. Padding has the
  input's zero point as its code, that is the real number 0. An average pool leaves padding out of the count as well.
- ReLU and ReLU6 are clamps of the codes: between z_y and z_y + round(6 / s_y), the quotient in float32.
- `Add` brings both terms to twice the larger scale with 20 more bits. `AveragePool` sums codes, zero points included.
  `Mean` takes the count into its multiplier, cut and not rounded. `Softmax` has gemmlowp's exponential in Q5.26.

Layout is TFLite's: activations (batch, height, width, channels), weights (out, height, width, in), of a depthwise
convolution (1, height, width, out). Codes are int8 or uint8; int8 weights may have a scale for each output channel, and
have zero point 0.

How convolutions are exact and still fast
-----------------------------------------
They run in floating point. Each input x - z_x lies in a known range that contains 0; so a sum of some of the products,
in whatever order, lies between the sum of the products' least values and the sum of their largest. Those two are known
when the weights are. If both are below 2^24 in magnitude, float32 holds every partial sum exactly; else float64 is
taken, which holds them below 2^53. The bias is added to the sum in int64. What `integer_layers` says of torch's
settings that could spoil float32 holds here as well.

A sum that leaves 32 bits raises OverflowError: in C the result would be undefined.

Sources: TensorFlow Lite, kernels/internal/reference (integer_ops/conv.h, depthwise_conv.h, fully_connected.h, add.h,
pooling.h; reduce.h; softmax.h) and quantization_util.cc; gemmlowp, fixedpoint/fixedpoint.h; Jacob et al. 2018, sections
2.2 to 2.4. Stands on `integer_layers`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from course_utils.quantization.integer_layers import INT32_MAX, INT32_MIN, RoundTwice, requantize_twice

__all__ = [
    "Add",
    "AveragePool",
    "Convolution",
    "DepthwiseConvolution",
    "FullyConnected",
    "Grid",
    "Mean",
    "Requantize",
    "Softmax",
    "quantize_weights",
    "quantized_multiplier",
    "same_padding",
]

Activation = Literal["NONE", "RELU", "RELU6", "RELU_N1_TO_1"]
Padding = Literal["SAME", "VALID"]
Pair = tuple[int, int]  # height, width

_CLAMPS = {"NONE": (None, None), "RELU": (0.0, None), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}
_BLOCK = 2**16  # elements that are rescaled at a time: in int64 half a megabyte, which stays in a core's cache


@dataclass(frozen=True)
class Grid:
    """What 8-bit codes of a tensor mean: real value = scale * (code - zero_point).

    Attributes:
        scale: positive; rounded to float32, as it is stored in a file.
        zero_point: the code of 0.
        dtype: `torch.int8` or `torch.uint8`.

    Raises:
        ValueError: if the scale is not positive and finite, or the zero point is no code.
        TypeError: if the dtype is another one.
    """

    scale: float
    zero_point: int
    dtype: torch.dtype

    def __post_init__(self) -> None:
        if self.dtype not in (torch.int8, torch.uint8):
            raise TypeError(f"codes are int8 or uint8, not {self.dtype}")
        object.__setattr__(self, "scale", float(np.float32(self.scale)))
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"a scale is positive and finite, not {self.scale}")
        if not self.lowest <= self.zero_point <= self.highest:
            raise ValueError(f"the zero point {self.zero_point} is outside {self.lowest} .. {self.highest}")

    @property
    def lowest(self) -> int:
        return torch.iinfo(self.dtype).min

    @property
    def highest(self) -> int:
        return torch.iinfo(self.dtype).max

    def real(self, codes: Tensor) -> Tensor:
        """The real numbers that codes stand for: float32, of the same shape."""
        return (codes.float() - self.zero_point) * self.scale

    def codes(self, x: Tensor) -> Tensor:
        """x, if it is of this grid's dtype.

        Raises:
            TypeError: if it is not.
        """
        if x.dtype != self.dtype:
            raise TypeError(f"codes of this grid are {self.dtype}, got {x.dtype}")
        return x

    def centred(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Codes minus the zero point, in another dtype; errors as for `codes`."""
        return self.codes(x).to(dtype) - self.zero_point

    def clamps(self, activation: Activation) -> Pair:
        """Least and largest code after an activation.

        Raises:
            ValueError: if the activation is unknown.
        """
        if activation not in _CLAMPS:
            raise ValueError(f"activation {activation!r} is not implemented; {', '.join(_CLAMPS)} are")
        low, high = _CLAMPS[activation]
        least = self.lowest if low is None else max(self.lowest, self._code(low))
        return least, self.highest if high is None else min(self.highest, self._code(high))

    def _code(self, value: float) -> int:
        with np.errstate(over="ignore", under="ignore"):  # a tiny scale gives infinity, a huge one 0
            steps = float(np.float32(value) / np.float32(self.scale))
        steps = min(max(steps, INT32_MIN), INT32_MAX)
        return self.zero_point + int(math.copysign(math.floor(abs(steps) + 0.5), steps))


def quantized_multiplier(m: float) -> tuple[int, int]:
    """m as multiplier * 2^-shift with 31 significant bits, as TFLite's QuantizeMultiplier gives it.

    It differs from `integer_layers.fixed_point_multiplier` in two places: halves go away from zero, and an m below
    2^-32 becomes 0.

    Args:
        m: positive, below 2^31.

    Raises:
        ValueError: if m is not positive and finite, or rounds to 2^31 or more.
    """
    if not (math.isfinite(m) and m > 0):
        raise ValueError(f"a multiplier is positive and finite, not {m}")
    fraction, exponent = math.frexp(m)
    multiplier = math.floor(math.ldexp(fraction, 31) + 0.5)
    if multiplier == 2**31:
        multiplier, exponent = 2**30, exponent + 1
    if exponent > 31:
        raise ValueError(f"a multiplier is below 2^31, not {m}")
    return (multiplier, 31 - exponent) if exponent >= -31 else (0, 31)


def quantize_weights(weight: Tensor, axis: int = 0) -> tuple[Tensor, Tensor]:
    """Codes and scales of float weights, as TFLite's converter computes them: per channel, symmetric, 8 bits.

    scale = max |w| / 127 and code = round(w (127 / max |w|)), halves away from zero, all in float32. Multiplying by the
    rounded inverse is the converter's way; dividing by the scale, as `affine.quantize` does, sends a few codes in a
    million to the other side of a half. A channel of nothing but zeros gets scale 1.

    Args:
        weight: float32, any shape.
        axis: the output channels: 0, or 3 for depthwise weights in TFLite's layout.

    Returns:
        (codes, scales): int8 of the weight's shape, -127 .. 127; float32 (channels,).

    Raises:
        TypeError: if the weights are not float32.
        ValueError: if one is not finite.

    Source: TensorFlow Lite, tools/optimize/quantization_utils.cc, SymmetricPerChannelQuantization.
    """
    weight = weight.detach()
    if weight.dtype != torch.float32:
        raise TypeError(f"weights are float32, not {weight.dtype}")
    if not bool(weight.isfinite().all()):
        raise ValueError("the weights hold NaN or infinity")
    columns = weight.movedim(axis, -1)
    largest = columns.abs().reshape(-1, columns.shape[-1]).amax(0)
    zero = largest == 0
    # not 127 / largest, for which torch multiplies by a rounded reciprocal
    inverse = torch.where(zero, 0.0, torch.full_like(largest, 127) / largest)
    steps = (columns * inverse).double()  # in float64 |steps| + 1/2 is exact
    codes = (steps.sign() * (steps.abs() + 0.5).floor()).clamp(-127, 127)
    return codes.to(torch.int8).movedim(-1, axis).contiguous(), torch.where(zero, 1.0, largest / 127)


def same_padding(side: int, window: int, stride: int) -> Pair:
    """Cells before and after a side, so that ceil(side / stride) windows fit; the odd one comes after."""
    total = max((math.ceil(side / stride) - 1) * stride + window - side, 0)
    return total // 2, total - total // 2


class _Rescale:
    """Sums to codes: clamp(z + round((sum + bias) M)), M one number or one for each channel (the last axis)."""

    def __init__(
        self, real: Sequence[float], output: Grid, activation: Activation = "NONE", bias: Tensor | None = None
    ) -> None:
        multiplier, shift = torch.tensor([quantized_multiplier(m) for m in real], dtype=torch.int64).unbind(1)
        bias = torch.zeros(1, dtype=torch.int64) if bias is None else bias.long()
        self.round = RoundTwice(multiplier, shift, bias, output.zero_point)
        self.bias, self.output, self.limits = bias, output, output.clamps(activation)
        self.up = (31 - shift).clamp(min=0)  # bits by which accumulators move up first

    def __call__(self, sums: Tensor, bound: int) -> Tensor:
        """sums: whole numbers (..., channels) of any dtype; with the bias no magnitude exceeds ``bound``."""
        if bound << int(self.up.max()) > INT32_MAX and sums.numel():
            self._refuse_overflow(sums)
        rows = sums.reshape(-1, sums.shape[-1])
        codes = torch.empty(rows.shape, dtype=self.output.dtype)
        step = max(1, _BLOCK // max(1, rows.shape[1]))
        for block, target in zip(rows.split(step), codes.split(step), strict=True):
            target.copy_(self.round(block.long()).clamp_(*self.limits))
        return codes.reshape(sums.shape)

    def _refuse_overflow(self, sums: Tensor) -> None:
        low, high = (int(v) for v in ((sums.long() + self.bias) << self.up).aminmax())
        if low < INT32_MIN or high > INT32_MAX:
            raise OverflowError(f"accumulators from {low} to {high} do not fit into 32 bits")


class _Weighted:
    """What the three layers with weights share: their sums' bounds, the dtype that holds them, the multipliers."""

    def __init__(
        self,
        weight: Tensor,
        weight_scale: Tensor | float,
        weight_zero_point: int,
        bias: Tensor | None,
        input: Grid,
        output: Grid,
        activation: Activation,
        product_in_float32: bool,
    ) -> None:
        """weight: (out, terms of each sum); in the children it is reshaped again."""
        if weight.dtype not in (torch.int8, torch.uint8):
            raise TypeError(f"weights are int8 or uint8, not {weight.dtype}")
        if weight.dtype == torch.int8 and weight_zero_point != 0:
            raise ValueError(f"int8 weights have zero point 0, not {weight_zero_point}")
        scales = np.atleast_1d(np.asarray(weight_scale, dtype=np.float32))
        if len(scales) not in (1, len(weight)) or not (np.isfinite(scales).all() and (scales > 0).all()):
            raise ValueError(f"the weights need 1 or {len(weight)} positive scales, not {scales.tolist()}")
        if bias is not None and (bias.dtype != torch.int32 or bias.shape != (len(weight),)):
            raise ValueError(f"the bias must be int32 ({len(weight)},), not {bias.dtype} {tuple(bias.shape)}")
        if product_in_float32 and len(scales) == 1:
            products = [float(np.float32(input.scale) * scales[0])]
        else:
            products = [input.scale * float(scale) for scale in scales]
        self.input, self.output = input, output
        real = [product / output.scale for product in products]
        self.rescale = _Rescale(real, output, activation, bias)
        centred = weight.long() - weight_zero_point
        # products with the ends of the input's range, one of which is >= 0 and the other <= 0
        ends = [centred * (end - input.zero_point) for end in (input.lowest, input.highest)]
        lowest, highest = torch.minimum(*ends).sum(1), torch.maximum(*ends).sum(1)
        largest = int(torch.maximum(-lowest, highest).max()) if len(weight) else 0
        self.bound = largest + (int(bias.long().abs().max()) if bias is not None and len(bias) else 0)
        self.dtype = torch.float32 if largest < 2**24 else torch.float64
        self.weight = centred.to(self.dtype)

    def operands(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Input and weight in a dtype in which the sums are exact."""
        dtype = self.dtype if torch.get_float32_matmul_precision() == "highest" else torch.float64
        return self.input.centred(x, dtype), self.weight.to(dtype)


class Convolution(_Weighted):
    """CONV_2D: y = clamp(z_y + round(M (sum (x - z_x) (w - z_w) + b))).

    Args:
        weight: int8 or uint8 (out, height, width, in / groups).
        weight_scale: one float, or (out,) with int8 weights.
        bias: int32 (out,), in units of s_x s_w, or None.
        input, output: grids of the codes that come in and go out.
        weight_zero_point: of uint8 weights; 0 for int8.
        stride, dilation: (height, width).
        padding: "SAME" or "VALID".
        groups: the channels fall into so many groups, each with filters of its own.
        activation: "NONE", "RELU", "RELU6" or "RELU_N1_TO_1".

    Raises:
        TypeError, ValueError: if one of these does not fit.
    """

    def __init__(
        self,
        weight: Tensor,
        weight_scale: Tensor | float,
        bias: Tensor | None,
        input: Grid,
        output: Grid,
        *,
        weight_zero_point: int = 0,
        stride: Pair = (1, 1),
        padding: Padding = "SAME",
        dilation: Pair = (1, 1),
        groups: int = 1,
        activation: Activation = "NONE",
    ) -> None:
        flat, product_in_float32 = weight.reshape(len(weight), -1), weight.dtype == torch.uint8
        super().__init__(flat, weight_scale, weight_zero_point, bias, input, output, activation, product_in_float32)
        shaped = self.weight.reshape(weight.shape).permute(0, 3, 1, 2)
        self.weight = shaped.contiguous(memory_format=torch.channels_last)
        self.stride, self.padding, self.dilation, self.groups = stride, _padding(padding), dilation, groups
        self.window = tuple(d * (side - 1) + 1 for d, side in zip(dilation, weight.shape[1:3], strict=True))

    def __call__(self, x: Tensor) -> Tensor:
        """Codes (batch, height, width, in) to codes (batch, out height, out width, out).

        Raises:
            TypeError: if the codes have another dtype than the input's grid.
            OverflowError: if a sum needs more than 32 bits.
        """
        x, weight = self.operands(x)
        x = x.permute(0, 3, 1, 2)
        (top, bottom), (left, right) = _pads(x, self.padding, self.window, self.stride)
        even = top, left
        if even != (bottom, right):
            x, even = functional.pad(x, (left, right, top, bottom)), (0, 0)
        with torch.backends.nnpack.flags(enabled=False):
            sums = functional.conv2d(x, weight, None, self.stride, even, self.dilation, self.groups)
        return self.rescale(sums.permute(0, 2, 3, 1), self.bound)


class DepthwiseConvolution(Convolution):
    """DEPTHWISE_CONV_2D: each input channel by itself gives out / in output channels, which lie side by side.

    Args:
        weight: int8 or uint8 (1, height, width, out).
        in_channels: how many channels come in; a divisor of out.
        others: as for `Convolution`.
    """

    def __init__(
        self,
        weight: Tensor,
        weight_scale: Tensor | float,
        bias: Tensor | None,
        input: Grid,
        output: Grid,
        *,
        in_channels: int,
        **options: Any,
    ) -> None:
        if len(weight) != 1 or weight.shape[3] % in_channels:
            raise ValueError(f"depthwise weights {tuple(weight.shape)} do not fit {in_channels} input channels")
        each = weight.permute(3, 1, 2, 0)
        super().__init__(each, weight_scale, bias, input, output, groups=in_channels, **options)


class FullyConnected(_Weighted):
    """FULLY_CONNECTED: as a convolution, over the last axis.

    It rounds twice, as the reference kernel's source has it. LiteRT 2.3, asked for its reference kernels, rounds once
    here: with M = 1 / 77, 17 of 3,000 random codes were one off. No other operator was found to differ.

    Args:
        weight: int8 or uint8 (out, in).
        others: as for `Convolution`.

    Raises:
        TypeError, ValueError: if one of these does not fit.
    """

    def __init__(
        self,
        weight: Tensor,
        weight_scale: Tensor | float,
        bias: Tensor | None,
        input: Grid,
        output: Grid,
        *,
        weight_zero_point: int = 0,
        activation: Activation = "NONE",
    ) -> None:
        super().__init__(weight, weight_scale, weight_zero_point, bias, input, output, activation, True)

    def __call__(self, x: Tensor) -> Tensor:
        """Codes of batch * in elements, of any shape, to codes (batch, out)."""
        x, weight = self.operands(x)
        return self.rescale(functional.linear(x.reshape(-1, weight.shape[1]), weight), self.bound)


class Add:
    """ADD: both terms brought to twice the larger scale, with 20 more bits, and their sum to the output's grid.

    With t = 2 max(s_1, s_2) and u_i = round((x_i - z_i) 2^20 (s_i / t)):
    y = clamp(z_y + round((u_1 + u_2) t / (2^20 s_y))).

    Raises:
        ValueError: if the larger scale is at least 2^19 times the output's, which TFLite refuses too.
    """

    _BITS = 20

    def __init__(self, first: Grid, second: Grid, output: Grid, activation: Activation = "NONE") -> None:
        self.terms = first, second
        twice = 2 * max(first.scale, second.scale)
        out = twice / (2**self._BITS * output.scale)
        if out >= 1:
            raise ValueError(f"the output's scale {output.scale} is too small for terms of scale {twice / 2}")
        self.rounds = [RoundTwice(*quantized_multiplier(grid.scale / twice)) for grid in self.terms]
        self.rescale = _Rescale([out], output, activation)

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """Codes of shapes that broadcast to codes."""
        terms = zip((first, second), self.terms, self.rounds, strict=True)
        first, second = (scaled(grid.centred(x, torch.int64) << self._BITS) for x, grid, scaled in terms)
        return self.rescale(first + second, 2**29)  # each term is at most 2^8 2^20 / 2


class AveragePool:
    """AVERAGE_POOL_2D: the mean of the codes in each window, halves away from zero; the grid stays.

    The codes themselves are summed, and rounded away from code 0, which need not be the code of the real 0.

    Args:
        grid: of input and output.
        window, stride: (height, width).
        padding: "SAME" or "VALID"; only cells within the image count.
    """

    def __init__(
        self, grid: Grid, window: Pair, stride: Pair, padding: Padding = "VALID", activation: Activation = "NONE"
    ) -> None:
        self.grid, self.window, self.stride, self.limits = grid, window, stride, grid.clamps(activation)
        self.padding = _padding(padding)

    def __call__(self, x: Tensor) -> Tensor:
        """Codes (batch, height, width, channels) to codes (batch, out height, out width, channels)."""
        codes = self.grid.codes(x).permute(0, 3, 1, 2).double()  # which holds the sums of 8-bit numbers exactly
        total, count = (self._sums(values).long() for values in (codes, torch.ones_like(codes[:1, :1])))
        half = torch.where(total > 0, count // 2, -(count // 2))
        mean = torch.div(total + half, count, rounding_mode="trunc").clamp_(*self.limits)
        return mean.to(self.grid.dtype).permute(0, 2, 3, 1).contiguous()

    def _sums(self, values: Tensor) -> Tensor:
        rows, columns = _pads(values, self.padding, self.window, self.stride)
        padded = functional.pad(values, (*columns, *rows))
        return functional.avg_pool2d(padded, self.window, self.stride, divisor_override=1)


class Mean:
    """MEAN over some axes: y = clamp(z_y + round(M' sum (x - z_x))).

    M = s_x / s_y is written as multiplier * 2^-shift; the number of summed elements n then goes into it:
    floor(multiplier 2^k / n) 2^-(shift + k), k the whole part of log2(n). Cut, not rounded: for n = 49, 29 bits stay.

    Args:
        count: how many elements are summed for each output.
        axes: over which; 0 is the batch.
        keep: whether summed axes stay, with length 1.
    """

    def __init__(self, input: Grid, output: Grid, axes: Sequence[int], count: int, keep: bool = True) -> None:
        self.input, self.output, self.axes, self.keep = input, output, tuple(axes), keep
        multiplier, shift = quantized_multiplier(input.scale / output.scale)
        k = min(count.bit_length() - 1, 32, 62 - shift)
        self.multiplier, self.shift = (multiplier << k) // count, shift + k
        self.limits = output.clamps("NONE")

    def __call__(self, x: Tensor) -> Tensor:
        """Codes to codes; the axes as they were named."""
        total = self.input.centred(x, torch.int64).sum(self.axes, keepdim=self.keep)
        return _saturated(requantize_twice(total, self.multiplier, self.shift), self.output)


class Requantize:
    """QUANTIZE from one grid to another: y = clamp(z_y + round((x - z_x) s_x / s_y))."""

    def __init__(self, input: Grid, output: Grid) -> None:
        self.input, self.rescale = input, _Rescale([input.scale / output.scale], output)

    def __call__(self, x: Tensor) -> Tensor:
        """Codes of any shape to codes of the same."""
        return self.rescale(self.input.centred(x, torch.int64), 255)


class Softmax:
    """SOFTMAX over the last axis: exp(beta (x - max)) / sum, all of it in 32-bit fixed point.

    Differences to the maximum in Q5.26, exponentials in Q0.31, their sum in Q12.19, its reciprocal by three steps of
    Newton. What lies so far below the maximum that Q5.26 would overflow gets the lowest code. The output's grid is
    fixed: scale 1 / 256, and 0 is the lowest code.

    Raises:
        ValueError: if the output's grid is another one, or beta times the scale is too small (TFLite refuses that too).
    """

    _DIGITS, _SUM_DIGITS = 5, 12  # whole bits of the differences and of the sum

    def __init__(self, input: Grid, output: Grid, beta: float = 1.0) -> None:
        if output.scale != 1 / 256 or output.zero_point != output.lowest:
            raise ValueError(f"softmax's output has scale 1 / 256 and zero point {output.lowest}, not {output}")
        real = min(beta * input.scale * 2 ** (31 - self._DIGITS), 2.0**31 - 1)
        if not real > 1:
            raise ValueError(f"softmax needs beta * scale above 2^-26, not {beta} * {input.scale}")
        self.input, self.output = input, output
        self.multiplier, shift = quantized_multiplier(real)
        self.left = 31 - shift
        self.least = -((2**self._DIGITS - 1) * 2 ** (31 - self._DIGITS) >> self.left)

    def __call__(self, x: Tensor) -> Tensor:
        """Codes (..., classes) to codes (..., classes)."""
        difference = self.input.centred(x, torch.int64)
        difference -= difference.amax(-1, keepdim=True)
        near = difference >= self.least
        powers = _exp(_times(difference.clamp(min=self.least) << self.left, self.multiplier))
        powers = torch.where(near, powers, 0)
        total = _halved(powers, self._SUM_DIGITS).sum(-1, keepdim=True)
        if int(total.max()) > INT32_MAX:
            raise OverflowError(f"softmax: {x.shape[-1]} exponentials do not fit into a sum of 32 bits")
        bits = torch.frexp(total.double()).exponent.long()  # of the sum, as a binary number
        reciprocal = _one_over_one_plus((total << (32 - bits)) - 2**31)
        exponent = self._SUM_DIGITS - (32 - bits) + 31 - 8
        codes = RoundTwice(reciprocal, 31 + exponent, after=self.output.lowest)(powers)
        return torch.where(near, codes.clamp(max=self.output.highest), self.output.lowest).to(self.output.dtype)


def _padding(padding: str) -> str:
    if padding not in ("SAME", "VALID"):
        raise ValueError(f"padding is SAME or VALID, not {padding!r}")
    return padding


def _pads(x: Tensor, padding: str, window: Pair, stride: Pair) -> tuple[Pair, Pair]:
    """For x (batch, channels, height, width): cells above and below, and to the left and right."""
    if padding == "VALID":
        return (0, 0), (0, 0)
    rows, columns = (same_padding(*sides) for sides in zip(x.shape[2:], window, stride, strict=True))
    return rows, columns


def _saturated(values: Tensor, output: Grid) -> Tensor:
    return (values + output.zero_point).clamp_(output.lowest, output.highest).to(output.dtype)


# gemmlowp's fixed point: int64 tensors that hold 32-bit numbers; Qm.n has m whole bits and n = 31 - m behind the point


def _times(a: Tensor, b: Tensor | int) -> Tensor:
    """The upper half of 2 a b, rounded, halves up: a product of Qm and Qk in Q(m + k)."""
    return (a * b + 2**30) >> 31


def _halved(a: Tensor, times: int) -> Tensor:
    """a / 2^times, rounded, halves away from zero."""
    return (a + 2 ** (times - 1) + (a >> 63)) >> times


def _saturating(a: Tensor) -> Tensor:
    return a.clamp(INT32_MIN, INT32_MAX)


def _exp(a: Tensor) -> Tensor:
    """exp(a) in Q0.31 for a <= 0 in Q5.26: a Taylor series at -1/8 for the last quarter, then a factor for each bit."""
    quarter = 2**24
    rest = (a & (quarter - 1)) - quarter
    x = (rest << 5) + 2**28
    x2 = _times(x, x)
    x3, x4 = _times(x2, x), _times(x2, x2)
    series = _halved(_times(_halved(x4, 2) + x3, 715827883) + x2, 1)  # x^2 / 2 + x^3 / 6 + x^4 / 24; 1/3
    result = 1895147668 + _times(x + series, 1895147668)  # exp(-1/8)
    factors = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)  # exp(-2^k), k = -2 .. 4
    for bit, factor in enumerate(factors, start=24):
        result = torch.where((rest - a) & (1 << bit) != 0, _times(result, factor), result)
    return torch.where(a == 0, INT32_MAX, result)


def _one_over_one_plus(a: Tensor) -> Tensor:
    """1 / (1 + a) in Q0.31 for a in [0, 1) in Q0.31, by three steps of Newton."""
    half = (a + 2**31) >> 1
    x = 1515870810 + _times(half, -1010580540)  # 48 / 17 - 32 / 17 half, Q2.29
    for _ in range(3):
        x = x + _saturating(_times(x, 2**29 - _times(half, x)) << 2)
    return _saturating(x << 1)
