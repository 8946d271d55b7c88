"""Symmetric integers whose rescaling is cheap in hardware: the formulas of the tuwien report, chapter 3.

A scale q here is a number to *multiply* by: code = round(q x). A layer's sums are in units of 1 / (q_x q_w), its output
in units of 1 / q_y; to go from one to the other they are multiplied by the adjustment q_y / (q_x q_w). That is a real
number below 1 as a rule. An FPGA wants a whole number and a shift, scale * 2^shift, or a shift alone. A negative shift
goes to the right; the report writes "<<" for both.

Beside each formula stands what the report itself does where that is something else: `document_shift_scale`,
`document_outliers`, `document_fold`.

Source: D. Dallinger, "FPGA optimized dynamic post-training Quantization of Tiny-YoloV3", TU Wien 2021, chapter 3 and
appendix A. Stands on torch and NumPy.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch import Tensor, nn

__all__ = [
    "correct_bias",
    "document_fold",
    "document_outliers",
    "document_shift_scale",
    "find_shift",
    "find_shift_scale",
    "integer_scale",
    "largest_code",
    "power_of_two_weights",
    "remove_outliers",
    "to_integers",
]


def largest_code(num_bits: int) -> int:
    """2^(n-1) - 1, the largest of n-bit integers with a sign.

    Raises:
        ValueError: if ``num_bits`` is not 2 to 16.
    """
    if not 2 <= num_bits <= 16:
        raise ValueError(f"num_bits is 2 to 16, not {num_bits}")
    return 2 ** (num_bits - 1) - 1


def integer_scale(largest: Tensor | float, num_bits: int) -> Tensor:
    """q = (2^(n-1) - 1) / max |x|, so that the largest magnitude gets the largest code.

    Equation 3.1 has (2^n - 1) / 2 on top, which is no code; the report's program has this.

    Args:
        largest: max |x|, one number or one for each channel. Where it is 0, everything is 0 and q is 1.

    Returns:
        float64, of ``largest``'s shape.

    Raises:
        ValueError: if ``largest`` is negative or not finite, or ``num_bits`` not 2 to 16.
    """
    largest = torch.as_tensor(largest).detach().double()
    if not bool((largest.isfinite() & (largest >= 0)).all()):
        raise ValueError(f"the largest magnitude is a finite number of at least 0, not {largest.tolist()}")
    return torch.where(largest > 0, largest_code(num_bits) / largest, 1.0)


def to_integers(x: Tensor, q: Tensor | float, num_bits: int) -> Tensor:
    """round(q x), cut to -2^(n-1) .. 2^(n-1) - 1 (equation 3.2; halves to even, as torch rounds).

    Args:
        x: floats of any shape.
        q: one number, or a tensor that broadcasts against ``x``.

    Returns:
        int64, of ``x``'s shape.
    """
    highest = largest_code(num_bits)
    return (x.detach().double() * q).round_().clamp_(-highest - 1, highest).long()


def find_shift_scale(adjustment: float, num_bits: int) -> tuple[int, int]:
    """The pair (scale, shift) with 1 <= scale < 2^num_bits whose scale * 2^shift is nearest to the adjustment.

    It is the adjustment rounded to ``num_bits`` binary digits. The scale is odd: of pairs with the same product the one
    with the smallest scale.

    Raises:
        ValueError: if the adjustment is not positive and finite, or ``num_bits`` below 1.
    """
    _require_positive(adjustment)
    if num_bits < 1:
        raise ValueError(f"num_bits is at least 1, not {num_bits}")
    fraction, exponent = math.frexp(adjustment)  # adjustment = fraction 2^exponent with a fraction in [1/2, 1)
    scale, shift = round(math.ldexp(fraction, num_bits)), exponent - num_bits  # 2^num_bits at most; halved below
    even = (scale & -scale).bit_length() - 1
    return scale >> even, shift + even


def document_shift_scale(adjustment: float, num_bits: int) -> tuple[int, int]:
    """The report's own search (appendix A.2, ``findShiftScale``), step by step, as (scale, shift).

    It climbs: up by one while the product is too small, to half the step when it is too large. It keeps the last pair
    that lay *below* the adjustment and nearer than the step before, so never one from above. Its scale
    may be 2^num_bits, one bit too wide. A value within 5e-10 of a power of two takes a way of its own.

    Raises:
        ValueError: if the adjustment is not positive and finite.
    """
    _require_positive(adjustment)
    nearest = round(math.log(adjustment) / math.log(2))
    if np.around(adjustment, 9) == math.pow(2, nearest):
        return 1, nearest
    shift, scale, kept = math.ceil(math.log2(adjustment)), 1, None
    old_loss = (adjustment - scale * 2.0**shift) ** 2
    while True:
        delta = adjustment - scale * 2.0**shift
        loss = delta**2
        if loss < old_loss and delta > 0:
            kept = scale, shift
        old_loss = loss
        if delta < 0:
            shift, scale = shift - 1, 2 * scale - 1
        else:
            scale += 1
        if scale > 2**num_bits or shift < -40:
            return kept or (1, math.ceil(math.log(adjustment) / math.log(2)))


def find_shift(adjustment: float) -> int:
    """The power of two nearest to the adjustment in the logarithm: round(log2(adjustment)), off by sqrt(2) at worst.

    Raises:
        ValueError: if the adjustment is not positive and finite.
    """
    _require_positive(adjustment)
    return round(math.log2(adjustment))


def power_of_two_weights(
    weight: Tensor, q_x: float, q_y: float, num_bits: int, *, axis: int | None = None
) -> tuple[Tensor, Tensor]:
    """A scale for the weights that makes q_y / (q_x q_w) a power of two (section 3.6).

    The weights' range is widened until it is: q_w becomes smaller, by less than a factor of 2, so that the codes lose
    less than one bit and none is cut.

    Args:
        weight: floats.
        q_x, q_y: of the layer's input and output.
        axis: 0 for a scale and a shift of its own for each output channel.

    Returns:
        (q_w, shift): float64 and int64, one number each or (out,); q_w = q_y / q_x * 2^-shift, so that
        q_y / (q_x q_w) = 2^shift.

    Raises:
        ValueError: if a scale is not positive and finite, or ``axis`` is neither None nor 0.
    """
    _require_positive(q_x)
    _require_positive(q_y)
    if axis not in (None, 0):
        raise ValueError(f"axis is None or 0, the output channels, not {axis!r}")
    size = weight.detach().double().abs()
    widest = integer_scale(size.max() if axis is None else size.flatten(1).amax(1), num_bits)
    fraction, exponent = torch.frexp(q_y / q_x / widest)  # in [1/2, 1): it is a power of two itself at 1/2
    shift = (exponent - (fraction == 0.5).int()).long()
    q_w = [math.ldexp(q_y / q_x, -places) for places in shift.reshape(-1).tolist()]
    return torch.tensor(q_w, dtype=torch.float64).view(shift.shape), shift


def remove_outliers(data: Tensor, m: float) -> Tensor:
    """Values cut to mean - m deviations .. mean + m deviations; the deviation is torch's, over N - 1.

    Args:
        data: floats, at least two of them; not changed.
        m: above 0.

    Raises:
        ValueError: if ``m`` is not above 0.
    """
    if not m > 0:
        raise ValueError(f"m is above 0, not {m}")
    mean, deviation = data.mean(), data.std()
    return data.clamp(mean - m * deviation, mean + m * deviation)


def document_outliers(data: Tensor, m: float, *, pseudocode: bool = False) -> Tensor:
    """What the report does with values further than m deviations from the mean.

    Its program (appendix A.2, ``reject_outliers``) sends them to +m or -m deviations, from 0 and not from the mean; its
    pseudocode in section 3.5 sends all of them to +m deviations, negative ones too.
    """
    mean, deviation = data.mean(), data.std()
    end = torch.full_like(data, float(m * deviation))
    if not pseudocode:
        end = torch.where(data > mean, end, -end)
    return torch.where((data - mean).abs() > m * deviation, end, data)


def document_fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """A convolution with a batch norm folded into it as equations 3.12 and 3.13 are printed.

    Equation 3.13 has (b - E[x]) / sqrt(Var[x] + eps) + beta for the bias; it lacks the factor gamma on the fraction,
    which the report's own program (appendix A.1) has. `torch.nn.utils.fusion.fuse_conv_bn_eval` does it right.
    """
    fused = copy.deepcopy(conv)
    with torch.no_grad():
        deviation = (norm.running_var + norm.eps).sqrt()
        bias = norm.running_mean.new_zeros(norm.num_features) if conv.bias is None else conv.bias
        fused.weight.mul_((norm.weight / deviation).view(-1, 1, 1, 1))
        fused.bias = nn.Parameter((bias - norm.running_mean) / deviation + norm.bias)
    return fused


def correct_bias(
    layer: nn.Module, quantized_layer: nn.Module, inputs: Tensor, *, per_channel: bool = True
) -> nn.Module:
    """A copy of the quantized layer whose mean output over these inputs is that of the float layer (equation 3.14).

    Args:
        layer: `torch.nn.Conv2d` or `torch.nn.Linear`.
        quantized_layer: the same with quantized weights, in float; not changed.
        inputs: (batch, ...), as the layer takes them.
        per_channel: each output channel's own mean error goes into its bias; if not, one mean for all goes into every
            bias, as equation 3.14 stands.
    """
    corrected = copy.deepcopy(quantized_layer)
    with torch.no_grad():
        error = (quantized_layer(inputs) - layer(inputs)).double()
        channel = 1 if isinstance(layer, nn.Conv2d) else -1
        error = error.movedim(channel, 0).flatten(1).mean(1)
        if not per_channel:
            error = error.mean().expand(len(error))
        bias = torch.zeros_like(error) if corrected.bias is None else corrected.bias.double()
        corrected.bias = nn.Parameter((bias - error).to(corrected.weight.dtype))
    return corrected


def _require_positive(value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"a scale or an adjustment is positive and finite, not {value}")
