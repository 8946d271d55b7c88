"""Layers that take and give floats and compute in whole numbers between: quantize the input, integer arithmetic, back
to float (thesis 4.2).

Two such layers with the same grid between them give what whole numbers handed on would give: the code of a code's value
is that code again.

Grids of activations are signed and asymmetric, as TensorFlow Lite has them. The arithmetic is that of
`integer_layers`, in one rounding; what TensorFlow Lite's kernels do in two is not here. Up to 8 bits accumulators and
biases have 32 bits; above, they have as many as the sums need, and multipliers fewer than 31, so that their product
stays within 63.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from course_utils.numerics import affine
from course_utils.numerics.formats import FloatFormat
from course_utils.profiler.options import Options
from course_utils.quantization.integer_layers import (
    INT32_MAX,
    INT32_MIN,
    fixed_point_multiplier,
    integer_conv2d,
    integer_linear,
    quantize_bias,
    requantize,
)
from course_utils.quantization.power_of_two import find_shift_scale

__all__ = ["FormatLayer", "IntegerAdd", "IntegerAveragePool", "IntegerLayer"]

Range = tuple[float, float]


class ActivationGrid:
    """The signed integers of an activation: value = scale (code - zero point).

    Args:
        range_: (smallest, largest) value; it is widened to contain 0.
        num_bits: 2 to 16.
    """

    def __init__(self, range_: Range, num_bits: int):
        # in double: a float32 number would be rounded to the nearest of its kind first
        low, high = (torch.tensor(end, dtype=torch.float64) for end in range_)
        scale, zero_point = affine.scale_and_zero_point(low, high, num_bits, signed=True)
        self.scale, self.zero_point, self.num_bits = float(scale), int(zero_point), num_bits
        self.lowest, self.highest = affine.quant_range(num_bits, signed=True)

    def codes(self, x: Tensor) -> Tensor:
        """Whole numbers of x's shape."""
        return affine.quantize(x, self.scale, self.zero_point, num_bits=self.num_bits, signed=True)

    def values(self, steps: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Of codes less the zero point, which need not be on the grid yet: they are clamped, in place."""
        return steps.clamp_(self.lowest - self.zero_point, self.highest - self.zero_point).to(dtype).mul_(self.scale)


class IntegerLayer(nn.Module):
    """A convolution (depthwise too) or fully connected layer in whole numbers.

    Args:
        layer: `torch.nn.Conv2d` with zero padding, or `torch.nn.Linear`; it is not changed.
        input_range, output_range: of the activations, in float.
        options: see `Options`.

    Attributes:
        weight_q: int64 codes, of the weight's shape.
        weight_scale: float64, one for each output channel (out,), all alike if the tensor has one grid. It is as large
            as the channel's bias needs: that has 31 bits at most, 47 if ``wide``.
        weight_zero_point: int64 (out,).
        multiplier, shift: int64 (out,); see `fixed_point_multiplier`.
        wide: whether accumulators may have more than 32 bits.

    Raises:
        ValueError: if the convolution pads with anything but zeros, a range is not finite, or a weight is not.
    """

    def __init__(self, layer: nn.Module, input_range: Range, output_range: Range, options: Options):
        super().__init__()
        if isinstance(layer, nn.Conv2d) and layer.padding_mode != "zeros":
            raise ValueError(f"a quantized convolution pads with zeros, not by {layer.padding_mode!r}")
        self.options, self.rounding = options, options.rounding_div
        self.input, self.output = (ActivationGrid(range_, options.num_bits) for range_ in (input_range, output_range))
        self.ways = None
        if isinstance(layer, nn.Conv2d):
            self.ways = {name: getattr(layer, name) for name in ("stride", "padding", "dilation", "groups")}
        weight = layer.weight.detach().float()
        axis = 0 if options.per_channel_quant and self.ways is not None else None
        bits, symmetric = options.bits_of_weights, options.symmetric_weights
        low, high = affine.value_range(weight, axis=axis)
        scale, zero_point = affine.scale_and_zero_point(low, high, bits, signed=True, symmetric=symmetric)
        self.wide = max(options.num_bits, bits) > 8
        if layer.bias is not None:  # next to weights of nearly 0, as of a channel that died, a bias has too many steps
            least = layer.bias.detach().double().abs() / (self.input.scale * (1 << (46 if self.wide else 30)))
            scale = torch.maximum(scale, (least if axis is not None else least.max()).to(scale.dtype))
        scale = scale.double()
        if options.adjustment == "power_of_two":  # widened until the quotient of scales is one
            shift = [
                math.ceil(math.log2(m)) for m in (self.input.scale * scale / self.output.scale).reshape(-1).tolist()
            ]
            scale = (2.0 ** torch.tensor(shift, dtype=torch.float64)).view_as(scale)
            scale = scale * (self.output.scale / self.input.scale)
        codes = affine.quantize(weight, scale.float(), zero_point, num_bits=bits, signed=True, axis=axis)
        channels = len(weight)
        self.register_buffer("weight_q", codes.long())
        self.register_buffer("weight_scale", scale.expand(channels).clone())
        self.register_buffer("weight_zero_point", zero_point.long().expand(channels).clone())
        factors = self.input.scale * self.weight_scale
        bias_q = None
        if layer.bias is not None:
            bias = layer.bias.detach()
            bias_q = (bias.double() / factors).round().long() if self.wide else quantize_bias(bias, factors)
        self.register_buffer("bias_q", bias_q)
        self._largest_sum = self._reach()
        pairs = [self._pair(m) for m in (factors / self.output.scale).tolist()]
        multiplier, shift = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).unbind(1)
        if self.wide and options.adjustment == "fixed_point":
            spare = max(self._largest_sum.bit_length() - 31, 0)
            multiplier, shift = (multiplier + (1 << spare >> 1)) >> spare, shift - spare
        self.register_buffer("multiplier", multiplier.clone())
        self.register_buffer("shift", shift.clone())

    def _pair(self, m: float) -> tuple[int, int]:
        """(multiplier, shift to the right) for m = input.scale * weight_scale / output.scale."""
        if self.options.adjustment == "fixed_point":
            return fixed_point_multiplier(m)
        bits = self.options.num_bits if self.options.adjustment == "scale_shift" else 1
        scale, shift = find_shift_scale(m, bits)
        return scale << max(shift, 0), max(-shift, 0)

    def _reach(self) -> int:
        """What no accumulator exceeds, whatever the input."""
        grid = self.input
        largest = max(grid.highest - grid.zero_point, grid.zero_point - grid.lowest)
        weight = self.weight_q.flatten(1) - self.weight_zero_point[:, None]
        sums = weight.abs().sum(1) * largest
        return int((sums if self.bias_q is None else sums + self.bias_q.abs()).max())

    def accumulate(self, codes: Tensor) -> Tensor:
        """The sums with the bias, before they are scaled: int64, within 32 bits if not `wide`.

        Raises:
            OverflowError: if a sum needs more than 32 bits, or 53 if `wide`.
        """
        operands = (codes, self.input.zero_point, self.weight_q, self.weight_zero_point)
        acc = integer_linear(*operands) if self.ways is None else integer_conv2d(*operands, **self.ways)
        if self.bias_q is not None:
            acc += self._of_channels(self.bias_q)
        if acc.numel() and not self.wide and self._largest_sum > INT32_MAX:
            low, high = (int(v) for v in acc.aminmax())
            if low < INT32_MIN or high > INT32_MAX:
                raise OverflowError(f"accumulators from {low} to {high} do not fit into 32 bits")
        return acc

    def forward(self, x: Tensor) -> Tensor:
        """
        Args:
            x: float32 or float64, (..., in) or (batch, in, height, width).

        Returns:
            Values of the output's grid, in x's dtype.
        """
        acc = self.accumulate(self.input.codes(x))
        multiplier, shift = self._of_channels(self.multiplier), self._of_channels(self.shift)
        if self.wide:
            acc *= multiplier
            acc = (acc + (1 << shift >> 1) if self.rounding else acc) >> shift
        else:
            acc = requantize(acc, multiplier, shift, self.rounding)
        return self.output.values(acc, x.dtype)

    def _of_channels(self, numbers: Tensor) -> Tensor:
        """One number for each output channel, in the shape in which it meets the output."""
        return numbers if self.ways is None else numbers.view(-1, 1, 1)

    def extra_repr(self) -> str:
        return f"{tuple(self.weight_q.shape)}, {self.options}"


class IntegerAdd(nn.Module):
    """The sum of two tensors of one shape in whole numbers: two input grids, one output grid.

    Both inputs are brought to the output's grid by 31-bit multipliers with one common shift, added, and rounded once.

    Args:
        input_ranges: of the two.
        output_range: of the sum.
        options: see `Options`.
    """

    def __init__(self, input_ranges: Sequence[Range], output_range: Range, options: Options):
        super().__init__()
        self.options = options
        self.inputs = [ActivationGrid(range_, options.num_bits) for range_ in input_ranges]
        self.output = ActivationGrid(output_range, options.num_bits)
        factors = [grid.scale / self.output.scale for grid in self.inputs]
        _, self.shift = fixed_point_multiplier(max(factors))
        self.multipliers = [round(factor * 2.0**self.shift) for factor in factors]

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        acc = sum(
            (grid.codes(value).long() - grid.zero_point) * multiplier
            for grid, value, multiplier in zip(self.inputs, (x, y), self.multipliers, strict=True)
        )
        if self.options.rounding_div and self.shift:
            acc += 1 << (self.shift - 1)
        acc >>= self.shift
        return self.output.values(acc, x.dtype)


class IntegerAveragePool(nn.Module):
    """The mean over all positions in whole numbers, on one grid (thesis 4.3.2): the mean of codes is a code.

    Args:
        input_range: of the input.
        options: see `Options`.
        keep: whether height and width stay, as 1.
    """

    def __init__(self, input_range: Range, options: Options, *, keep: bool = True):
        super().__init__()
        self.options, self.keep = options, keep
        self.input = ActivationGrid(input_range, options.num_bits)

    def forward(self, x: Tensor) -> Tensor:
        """x: float (batch, channels, height, width)."""
        codes, count = self.input.codes(x).long(), x.shape[-2] * x.shape[-1]
        total = codes.sum(dim=(-2, -1), keepdim=self.keep) - count * self.input.zero_point
        if self.options.rounding_div:  # halves up, as in `requantize`
            total, count = 2 * total + count, 2 * count
        return self.input.values(torch.div(total, count, rounding_mode="floor"), x.dtype)


class FormatLayer(nn.Module):
    """A layer whose weights, inputs and output are numbers of a float format; between them it computes in float32.

    Args:
        layer: any; it is copied. Its bias stays as it is.
        float_format: the format.
    """

    def __init__(self, layer: nn.Module, float_format: FloatFormat):
        super().__init__()
        self.layer, self.float_format = copy.deepcopy(layer), float_format
        weight = getattr(self.layer, "weight", None)
        if weight is not None:
            weight.data = float_format.quantize(weight.detach())

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.float_format.quantize(self.layer(*(self.float_format.quantize(x) for x in inputs)))
