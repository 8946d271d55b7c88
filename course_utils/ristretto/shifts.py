"""Networks whose multiplications are shifts: weights are powers of two, inputs whole numbers of a fixed-point format.

A weight +-2^e times an input x 2^-f is +-(x << (e - lowest)) in units of 2^(lowest - f). Sums of these are whole
numbers, biases are in the same unit, and an output is the sum shifted right, rounded to nearest, ties to even. So all
is exact: it equals, bit for bit, what `layers.RoundingLayer` gives in float64.

Stands on torch, `formats` and `layers`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from course_utils.numerics import FixedPoint
from course_utils.ristretto.formats import LayerFormats, PowersOfTwo
from course_utils.ristretto.layers import replaced

__all__ = ["ShiftLayer", "biases_in_sums", "rounding_shift", "shift_network"]

BIAS_BITS = 32
SUM_BITS = 53  # float64 carries such whole numbers, too


def biases_in_sums(formats: Mapping[str, LayerFormats]) -> dict[str, LayerFormats]:
    """The formats with biases of 32 bits in the unit of each layer's sums, where no other is given.

    Raises:
        ValueError: if weights are not powers of two or inputs not fixed point; the message names the layer.
    """
    found = {}
    for name, own in formats.items():
        if not (isinstance(own.weight, PowersOfTwo) and isinstance(own.input, FixedPoint)):
            raise ValueError(f"{name}: shifts take weights of PowersOfTwo and inputs of FixedPoint")
        fraction_bits = own.input.fraction_bits - own.weight.lowest
        bias = own.bias or FixedPoint(BIAS_BITS - fraction_bits, fraction_bits)
        if bias.fraction_bits != fraction_bits:
            raise ValueError(f"{name}: the bias should have the unit of the sums, 2^{-fraction_bits}, not {bias}")
        found[name] = replace(own, bias=bias)
    return found


def rounding_shift(sums: Tensor, places: int) -> Tensor:
    """int64 ``sums`` / 2^places, rounded to nearest, ties to even; ``places`` below zero shift to the left."""
    if places <= 0:
        return sums << -places
    odd = (sums >> places) & 1  # the last bit that stays: a tie goes up only if that makes it even
    return (sums + ((1 << (places - 1)) - 1) + odd) >> places


class ShiftLayer(nn.Module):
    """A convolution or fully connected layer without a multiplication.

    It takes and gives real numbers in float64, which stand for whole numbers times a power of two; in between all is
    int64.

    Args:
        layer: with float weights; a convolution pads with zeros. Not changed.
        formats: with the bias in the unit of the sums, see `biases_in_sums`; without an output format, sums come out.

    Attributes:
        signs, shifts: int64, of the weight's shape: -1, 0 or 1, and places to the left.
        bias: int64 (out,), in the unit of the sums.

    Raises:
        ValueError: if sums could need more than 53 bits, or the convolution pads otherwise.
    """

    def __init__(self, layer: nn.Conv2d | nn.Linear, formats: LayerFormats) -> None:
        super().__init__()
        if getattr(layer, "padding_mode", "zeros") != "zeros" or isinstance(getattr(layer, "padding", 0), str):
            raise ValueError("a convolution by shifts pads with zeros, by numbers of them")
        weight, self.formats = formats.weight, formats
        self.signs, exponents = weight.exponents(weight.quantize(layer.weight))
        self.shifts = exponents - weight.lowest
        unit = formats.input.fraction_bits - weight.lowest
        self.bias = torch.zeros(len(self.signs), dtype=torch.int64)
        if (bias := layer.bias) is not None:
            self.bias = formats.bias.encode(bias.detach()).long()
        terms = (self.signs.abs() << self.shifts).flatten(1).sum(1)
        reach = int(terms.max()) * 2 ** (formats.input.bits - 1) + int(self.bias.abs().max())
        if weight.highest - weight.lowest + formats.input.bits > SUM_BITS or reach.bit_length() > SUM_BITS:
            raise ValueError(f"its sums need more than {SUM_BITS} bits: take fewer exponents than {weight}")
        self.unit = unit
        self.convolution = None
        if isinstance(layer, nn.Conv2d):
            self.convolution = layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups

    def forward(self, x: Tensor) -> Tensor:
        codes = self.formats.input.encode(x).long()
        sums = self._sums(codes) + self.bias.view(-1, *[1] * (codes.dim() - 2))
        output = self.formats.output
        if output is None:
            return torch.ldexp(sums.double(), torch.tensor(-self.unit))
        words = rounding_shift(sums, self.unit - output.fraction_bits)
        return torch.ldexp(words.clamp(*output.code_range).double(), torch.tensor(-output.fraction_bits))

    def _sums(self, codes: Tensor) -> Tensor:
        """Of each output the shifted inputs, added; channel after channel, because all at once take much memory."""
        if self.convolution is None:
            windows, groups = codes, 1
        else:
            windows, groups = _windows(codes, *self.convolution[:4]), self.convolution[4]
        per_group = len(self.signs) // groups
        sums = []
        for channel, (signs, shifts) in enumerate(zip(self.signs, self.shifts, strict=True)):
            width = windows.shape[-1] // groups
            own = windows[..., (channel // per_group) * width : (channel // per_group + 1) * width]
            shifted = own << shifts.flatten()
            flat = signs.flatten()
            sums.append(torch.where(flat > 0, shifted, torch.where(flat < 0, -shifted, 0)).sum(-1))
        return torch.stack(sums, 1)


def _windows(codes: Tensor, kernel, stride, padding, dilation) -> Tensor:
    """(n, channels, h, w) to (n, h', w', channels * kernel height * kernel width): what each output looks at."""
    codes = nn.functional.pad(codes, (padding[1], padding[1], padding[0], padding[0]))
    for axis in (0, 1):
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        codes = codes.unfold(2 + axis, reach, stride[axis])[..., :: dilation[axis]]
    return codes.permute(0, 2, 3, 1, 4, 5).flatten(3)


def shift_network(network: nn.Module, formats: Mapping[str, LayerFormats]) -> nn.Module:
    """A copy in float64 whose layers multiply by shifting; it gives what
    ``quantized(network.double(), biases_in_sums(formats))`` gives, bit for bit.

    Args:
        network: in eval mode; not changed.
        formats: path of a layer -> formats, of `trim` with ``system="power_of_two"`` for example.

    Raises:
        ValueError: if there is no such layer, or it cannot be run by shifts; the message names it.
    """
    return replaced(copy.deepcopy(network).double(), biases_in_sums(formats), ShiftLayer)
