"""The whole-number arithmetic of a quantized layer: accumulate, add the bias, rescale, saturate.

With codes x_q, w_q on grids (scale s_x, zero point z_x) and (s_w, z_w) a linear or convolutional layer is

    acc = sum (x_q - z_x) (w_q - z_w) + b_q         b_q = round(b / (s_x s_w)), 32 bits
    y_q = saturate(z_y + round(M acc))              M = s_x s_w / s_y

(Lund thesis, equation 2.18 and its form with a bias after 2.19; the four steps at the end of its section 2.3.2 leave
out the addition of z_y). M is a real number. `fixed_point_multiplier` writes it as multiplier * 2^-shift with a 31-bit
whole number, and `requantize` applies it with one multiplication and one shift. No floating point is left in between.

How the sums are exact and still fast
-------------------------------------
The sums run in floating point and not in int64, because that has fast kernels. It is exact, in whatever order a kernel
adds, as long as every partial sum stays below 2^24 in float32, or 2^53 in float64. `integer_linear` and
`integer_conv2d` bound the sums by the largest magnitudes that occur, take float32 where that is enough, float64 where
it is not, and refuse what could pass 2^53. Two things could still spoil float32, and both are kept out: NNPACK, which
torch uses for convolutions on some machines, transforms them (Winograd, Fourier) and does not add whole numbers; and
`torch.set_float32_matmul_precision` allows fewer bits than float32 has.

Padding
-------
A convolution pads with real zeros. The code of 0 is the zero point, so codes are padded with z_x. Here z_x is
subtracted first, and padding with 0 afterwards is the same thing.

What is defined where implementations differ
--------------------------------------------
- Rounding is once, to nearest, halves up (towards plus infinity): floor(v + 1/2). Adding half and shifting does that.
  gemmlowp rounds twice, and the second time halves away from zero: `requantize_twice`.
- ``rounding=False`` drops the bits (the thesis' truncating division): an arithmetic shift, which rounds down, also
  below 0.
- M may be 1 and more: the shift is then smaller than 31. M must be positive and below 2^31.
- M below 2^-32 keeps shift 62 and loses bits of the multiplier, as a subnormal number does. A 32-bit accumulator times
  M is then below 1/2, and the lost bits change it by less than 2^-32.
- Accumulators are 32-bit numbers. A layer whose sums leave that range raises OverflowError instead of wrapping around.
- A bias code saturates at the limits of 32 bits.

Stands on `affine`, for the grids of weights. Source: Jacob et al. 2018 (quoted by the thesis as [10]), sections 2.2 to
2.4.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from course_utils.numerics import affine

__all__ = [
    "QuantizedLayer",
    "fixed_point_multiplier",
    "integer_conv2d",
    "integer_linear",
    "quantize_bias",
    "requantize",
    "requantize_twice",
]

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
MAX_SHIFT = 62  # so that |acc * multiplier| + 2^(shift - 1) < 2^62 + 2^61 stays within int64

Padding = int | tuple[int, int] | str


def integer_linear(
    x_q: Tensor,
    x_zero_point: int,
    weight_q: Tensor,
    weight_zero_point: Tensor | int,
    bias_q: Tensor | None = None,
) -> Tensor:
    """Accumulators of a linear layer: sum over k of (x_q - z_x)[.., k] (w_q - z_w)[o, k], plus b_q[o]. Exact.

    Args:
        x_q: whole numbers (..., in_features), of any dtype.
        weight_q: whole numbers (out_features, in_features).
        x_zero_point: the code of 0 in ``x_q``.
        weight_zero_point: one whole number, or one for each output channel (out_features,).
        bias_q: whole numbers (out_features,), or None.

    Returns:
        int64 (..., out_features). What leaves 32 bits is not changed.

    Raises:
        TypeError, ValueError: if codes are not whole numbers.
        OverflowError: if a partial sum could reach 2^53.
    """
    x, weight, bias = _operands(x_q, x_zero_point, weight_q, weight_zero_point, bias_q)
    return functional.linear(x, weight, bias).long()


def integer_conv2d(
    x_q: Tensor,
    x_zero_point: int,
    weight_q: Tensor,
    weight_zero_point: Tensor | int,
    bias_q: Tensor | None = None,
    *,
    stride: int | tuple[int, int] = 1,
    padding: Padding = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> Tensor:
    """Accumulators of a convolution, padded with the code of 0. Exact.

    Args:
        x_q: whole numbers (batch, in_channels, height, width), of any dtype.
        weight_q: whole numbers (out_channels, in_channels / groups, kernel height, kernel width).
        x_zero_point: the code of 0 in ``x_q``.
        weight_zero_point: one whole number, or one for each output channel (out_channels,).
        bias_q: whole numbers (out_channels,), or None.
        stride, padding, dilation, groups: as in `torch.nn.functional.conv2d`; padding may be "same" or "valid".

    Returns:
        int64 (batch, out_channels, out height, out width). What leaves 32 bits is not changed.

    Raises:
        TypeError, ValueError: if codes are not whole numbers.
        OverflowError: if a partial sum could reach 2^53.
    """
    x, weight, bias = _operands(x_q, x_zero_point, weight_q, weight_zero_point, bias_q)
    with torch.backends.nnpack.flags(enabled=False):
        return functional.conv2d(x, weight, bias, stride, padding, dilation, groups).long()


def quantize_bias(bias: Tensor, scale: Tensor | float) -> Tensor:
    """The bias in units of the accumulator: round(bias / scale), saturated to 32 bits.

    Args:
        bias: real numbers (out,).
        scale: input scale times weight scale, one number or (out,).

    Returns:
        int64 (out,).
    """
    q = torch.round(bias.detach().double() / torch.as_tensor(scale, dtype=torch.float64))
    return q.clamp(INT32_MIN, INT32_MAX).long()


def fixed_point_multiplier(m: float) -> tuple[int, int]:
    """m as multiplier * 2^-shift with 31 significant bits.

    Args:
        m: positive, below 2^31.

    Returns:
        (multiplier, shift): the whole number nearest to m * 2^shift, in [2^30, 2^31 - 1], and a shift in [0, 62]. An m
        below 2^-32 has shift 62 and a smaller multiplier, perhaps 0.

    Raises:
        ValueError: if m is not positive and finite, or rounds to 2^31 or more.
    """
    if not (math.isfinite(m) and m > 0):
        raise ValueError(f"a multiplier is positive and finite, not {m}")
    _, exponent = math.frexp(m)  # m = fraction * 2^exponent with a fraction in [1/2, 1)
    shift = min(31 - exponent, MAX_SHIFT)
    multiplier = round(math.ldexp(m, shift))
    if multiplier == 2**31:  # a fraction just below 1 was rounded up to it
        multiplier, shift = 2**30, shift - 1
    if shift < 0:
        raise ValueError(f"a multiplier is below 2^31, not {m}")
    return multiplier, shift


def requantize(acc: Tensor, multiplier: Tensor | int, shift: Tensor | int, rounding: bool = True) -> Tensor:
    """acc * multiplier / 2^shift in whole numbers.

    Args:
        acc: whole numbers of 32 bits, any shape.
        multiplier, shift: as `fixed_point_multiplier` gives them; or int64 tensors that broadcast against ``acc``, one
            pair for each channel.
        rounding: to nearest, halves up; if False, down.

    Returns:
        int64, of ``acc``'s shape; exact.

    Raises:
        TypeError, ValueError: if ``acc`` are not whole numbers of 32 bits, or shift is not in [0, 62].
    """
    acc = _whole(acc, INT32_MIN, INT32_MAX).long()
    multiplier, shift = _checked_pair(multiplier, shift)
    product = acc * multiplier  # a new tensor, the only one of this size: what follows works in place
    if rounding:
        product += torch.where(shift > 0, torch.ones_like(shift) << (shift - 1).clamp(min=0), 0)
    product >>= shift
    return product


def requantize_twice(acc: Tensor, multiplier: Tensor | int, shift: Tensor | int) -> Tensor:
    """The same as gemmlowp does it: the product's upper half, rounded; then a shift, rounded again.

    The first rounding sends halves up, the second away from zero. After both, the result may be one off the nearest.
    For m >= 1 there is no second rounding: acc is shifted up first, within 32 bits.

    Args:
        acc: whole numbers of 32 bits, any shape.
        multiplier, shift: as for `requantize`.

    Returns:
        int64, of ``acc``'s shape.

    Raises:
        TypeError, ValueError: if ``acc`` are not whole numbers of 32 bits, or shift is not in [0, 62].
        OverflowError: if ``acc``, shifted up, leaves 32 bits.
    """
    acc = _whole(acc, INT32_MIN, INT32_MAX).long()
    multiplier, shift = _checked_pair(multiplier, shift)
    up = (31 - shift).clamp(min=0)
    if bool(((acc > INT32_MAX >> up) | (acc < INT32_MIN >> up)).any()):
        raise OverflowError(f"accumulators from {acc.min()} to {acc.max()}, shifted up for an m >= 1, leave 32 bits")
    return RoundTwice(multiplier, shift)(acc.clone())


class RoundTwice:
    """`requantize_twice` for many accumulators of the same channels: without its checks, and in place.

    Args:
        multiplier, shift: as for `requantize`.
        before: whole numbers that are added to the accumulators first, such as biases.
        after: a whole number that is added to the result, such as a zero point.
    """

    def __init__(self, multiplier: Tensor | int, shift: Tensor | int, before: Tensor | int = 0, after: int = 0) -> None:
        multiplier, shift = torch.as_tensor(multiplier).long(), torch.as_tensor(shift).long()
        self.down = (shift - 31).clamp(min=0)
        # gemmlowp shifts accumulators up before it multiplies, and they still fit into 32 bits: the factor may as well
        self.multiplier = multiplier << (31 - shift).clamp(min=0)
        # its nudge is 2^30, below zero 1 - 2^30, and C's division cuts towards zero: both round halves up
        # (each part may wrap around in 64 bits; their sum, below 2^63, comes out right all the same)
        self.first = self.multiplier * before + 2**30
        half = torch.where(self.down > 0, torch.ones_like(self.down) << (self.down - 1).clamp(min=0), 0)
        self.second = half + (after << self.down)
        self.once = None if bool((self.down > 0).all()) else (self.down > 0).long()

    def __call__(self, acc: Tensor) -> Tensor:
        """acc: int64; it is overwritten and returned."""
        acc *= self.multiplier
        acc += self.first
        acc >>= 31
        below_zero = acc >> 63  # -1 or 0: below zero, less than half is added, so that halves go away from zero
        if self.once is not None:
            below_zero *= self.once
        acc += self.second
        acc += below_zero
        acc >>= self.down
        return acc


class QuantizedLayer:
    """A linear or convolutional layer that computes with whole numbers only.

    Args:
        layer: `torch.nn.Linear`, or `torch.nn.Conv2d` with zero padding. It is not changed.
        num_bits: of the weights, of the input and of the output, 2 to 16.
        per_channel: a grid of its own for the weights of each output channel.
        symmetric: signed weight codes with zero point 0.
        rounding: of the last division, to nearest (True) or down (False).

    Attributes:
        weight_q: int64, of the weight's shape.
        weight_scalefactor, weight_zeropoint: a float and an int; (out,) tensors of float64 and int64 if per channel.
        bias: float64 (out,), or None. It becomes whole numbers when the input's scale is known.

    Raises:
        TypeError: if the layer is of another kind.
        ValueError: if the convolution pads with anything but zeros, or a weight is not finite.
    """

    def __init__(
        self,
        layer: nn.Module,
        num_bits: int = 8,
        *,
        per_channel: bool = False,
        symmetric: bool = False,
        rounding: bool = True,
    ) -> None:
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            raise TypeError(f"only Linear and Conv2d can be quantized, not {type(layer).__name__}")
        if isinstance(layer, nn.Conv2d) and layer.padding_mode != "zeros":
            raise ValueError(f"a quantized convolution pads with zeros, not by {layer.padding_mode!r}")
        self.layer, self.num_bits, self.per_channel, self.rounding = layer, num_bits, per_channel, rounding
        axis = 0 if per_channel else None
        weight = layer.weight.detach().float()
        low, high = affine.value_range(weight, axis=axis)
        scale, zero_point = affine.scale_and_zero_point(low, high, num_bits, signed=symmetric, symmetric=symmetric)
        codes = affine.quantize(weight, scale, zero_point, num_bits=num_bits, signed=symmetric, axis=axis)
        self.weight_q = codes.long()
        self.weight_scalefactor = scale.double() if per_channel else float(scale)
        self.weight_zeropoint = zero_point.long() if per_channel else int(zero_point)
        self.bias = None if layer.bias is None else layer.bias.detach().double()

    def accumulate(self, x: Tensor, x_scalefactor: float, x_zeropoint: int) -> Tensor:
        """The sums with the bias, before they are scaled: int64, within 32 bits.

        Raises:
            OverflowError: if a sum needs more than 32 bits.
        """
        bias_q = None if self.bias is None else quantize_bias(self.bias, x_scalefactor * self.weight_scalefactor)
        operands = (x, x_zeropoint, self.weight_q, self.weight_zeropoint, bias_q)
        if isinstance(self.layer, nn.Linear):
            acc = integer_linear(*operands)
        else:
            ways = {name: getattr(self.layer, name) for name in ("stride", "padding", "dilation", "groups")}
            acc = integer_conv2d(*operands, **ways)
        if acc.numel():
            low, high = (int(v) for v in acc.aminmax())
            if low < INT32_MIN or high > INT32_MAX:
                raise OverflowError(f"accumulators from {low} to {high} do not fit into 32 bits")
        return acc

    def run_quantized_layer(
        self, x: Tensor, x_scalefactor: float, x_zeropoint: int, out_scalefactor: float, out_zeropoint: int
    ) -> Tensor:
        """Codes in, codes out.

        Args:
            x: whole numbers 0 .. 2^num_bits - 1; (..., in_features), or (batch, in_channels, height, width).
            x_scalefactor, x_zeropoint: the input's grid.
            out_scalefactor, out_zeropoint: the output's grid.

        Returns:
            float32 tensor of whole numbers 0 .. 2^num_bits - 1: (..., out_features), or (batch, out_channels, ...).

        Raises:
            TypeError, ValueError: if ``x`` are not such codes.
            OverflowError: if a sum needs more than 32 bits.
        """
        levels = 2**self.num_bits - 1
        acc = self.accumulate(_whole(x, 0, levels), x_scalefactor, x_zeropoint)
        m = torch.as_tensor(x_scalefactor * self.weight_scalefactor / out_scalefactor, dtype=torch.float64)
        pairs = torch.tensor([fixed_point_multiplier(v) for v in m.reshape(-1).tolist()])
        channels = (-1,) if isinstance(self.layer, nn.Linear) else (-1, 1, 1)
        multiplier, shift = (p.reshape(channels) for p in pairs.unbind(1))
        scaled = requantize(acc, multiplier, shift, self.rounding)
        return (scaled + out_zeropoint).clamp_(0, levels).float()


def _operands(
    x_q: Tensor, x_zero_point: int, weight_q: Tensor, weight_zero_point: Tensor | int, bias_q: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Codes with their zero points taken off, in float32 if that holds all sums exactly, or in float64."""
    x = _whole(x_q, INT32_MIN, INT32_MAX)
    zero_point = torch.as_tensor(weight_zero_point)
    if zero_point.dim():
        zero_point = zero_point.reshape(-1, *[1] * (weight_q.dim() - 1))
    weight = _whole(weight_q, INT32_MIN, INT32_MAX).long() - zero_point
    bias = None if bias_q is None else _whole(bias_q, INT32_MIN, INT32_MAX)
    of_bias = 0 if bias is None else _largest(bias)
    terms = weight[0].numel() if len(weight) else 0
    bound = _largest(x, x_zero_point) * _largest(weight) * terms + of_bias
    if bound >= 2**53:
        raise OverflowError(f"sums of {terms} products of such codes may pass 2^53 and would no longer be exact")
    # the zero point is taken off in that type, too
    single = max(bound, _largest(x)) < 2**24 and torch.get_float32_matmul_precision() == "highest"
    dtype = torch.float32 if single else torch.float64
    return x.to(dtype) - x_zero_point, weight.to(dtype), None if bias is None else bias.to(dtype)


def _largest(numbers: Tensor, zero_point: int = 0) -> int:
    """The largest distance from the zero point."""
    return max(abs(int(end) - zero_point) for end in numbers.aminmax()) if numbers.numel() else 0


def _checked_pair(multiplier: Tensor | int, shift: Tensor | int) -> tuple[Tensor, Tensor]:
    """Both as int64 tensors."""
    multiplier, shift = torch.as_tensor(multiplier), torch.as_tensor(shift)
    if bool(((shift < 0) | (shift > MAX_SHIFT) | (multiplier < 0) | (multiplier > INT32_MAX)).any()):
        raise ValueError(f"the multiplier must be in [0, 2^31 - 1] and the shift in [0, {MAX_SHIFT}]")
    return multiplier.long(), shift.long()


def _whole(codes: Tensor, lowest: int, highest: int) -> Tensor:
    """Whole numbers of any dtype: integers as they are, floating point as int64."""
    if not isinstance(codes, Tensor) or codes.is_complex() or codes.dtype == torch.bool:
        raise TypeError(f"codes must be a tensor of whole numbers, not {getattr(codes, 'dtype', type(codes).__name__)}")
    codes = codes.long() if codes.dtype in (torch.uint16, torch.uint32, torch.uint64) else codes.detach()
    if codes.numel():
        least, most = (end.item() for end in codes.aminmax())
        if not (least >= lowest and most <= highest):  # written so that NaN, which both are if there is one, fails it
            raise ValueError(f"codes must be in [{lowest}, {highest}], not in [{least}, {most}]")
    if not codes.is_floating_point():
        return codes
    whole = codes.long()
    if bool((whole != codes).any()):
        raise ValueError("codes must be whole numbers: this tensor has others, was it quantized?")
    return whole
