"""What a layer's weights become in each method of the lecture's table, and what gradient they get.

Each function maps the weights as they are trained (the "shadow" weights, float, any shape whose first axis are the
filters or outputs) to those that the network sees, of the same shape and dtype.

Stands on torch and `straight_through`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from course_utils.low_bit.straight_through import sign, straight_through

__all__ = [
    "binarize",
    "binarize_stochastic",
    "binary_scale",
    "binary_weight",
    "dorefa_weight",
    "incremental_levels",
    "incremental_round",
    "log_quantize",
    "ternary_threshold",
    "ternary_weight",
    "trained_ternary",
]


def binarize(w: Tensor) -> Tensor:
    """BinaryConnect, deterministic: +1 where w >= 0, else -1. The gradient goes through unchanged.

    After each step the shadow weights are clipped to [-1, 1], where else they would grow without effect.

    Source: Courbariaux, Bengio, David, BinaryConnect, NIPS 2015, "Deterministic vs stochastic binarization"; BNN has
    the same weights.
    """
    return straight_through(w, sign(w.detach()))


def binarize_stochastic(w: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """BinaryConnect, stochastic: +1 with probability clip((w + 1) / 2, 0, 1), else -1.

    So the expectation is clip(w, -1, 1). The gradient goes through unchanged. The paper tests such a
    network with the shadow weights.

    Source: the same.
    """
    chance = ((w.detach() + 1) / 2).clamp(0, 1)
    draw = torch.rand(w.shape, generator=generator, dtype=w.dtype, device=w.device)
    return straight_through(w, (draw < chance).to(w.dtype) * 2 - 1)


def binary_scale(w: Tensor) -> Tensor:
    """BWN: alpha = mean |w| of each filter, (filters, 1, ..., 1). It minimises sum (w - alpha * sign(w))^2.

    Source: Rastegari, Ordonez, Redmon, Farhadi, XNOR-Net, ECCV 2016, section 3.1, equation 6.
    """
    return w.detach().abs().flatten(1).mean(1).view(-1, *[1] * (w.dim() - 1))


def binary_weight(w: Tensor) -> Tensor:
    """BWN and XNOR-Net: alpha * sign(w), with one alpha a filter (see `binary_scale`).

    The gradient is multiplied by 1/n + alpha * [|w| <= 1], with the n weights of a filter. That is the paper's: of the
    true derivative of alpha, which every weight of the filter has a part in, it keeps each weight's own.

    Source: the same, section 3.1, "Training Binary-Weights-Networks".
    """
    alpha = binary_scale(w)
    slope = 1 / w[0].numel() + alpha * (w.detach().abs() <= 1)
    return straight_through(w, alpha * sign(w.detach()), slope)


def ternary_threshold(w: Tensor, factor: float = 0.7) -> Tensor:
    """TWN: ``factor`` * mean |w| of each filter, (filters, 1, ..., 1).

    The paper derives 0.75 for normal weights (the exact figure is 0.767) and 2/3 for uniform ones, and takes 0.7, in
    its third version (2022) 0.75: an approximation. `levels.optimal_ternary` finds the best.

    Source: Li, Zhang, Liu, Ternary Weight Networks, 2016, arXiv 1605.04711, "Threshold-based ternary function".
    """
    return factor * binary_scale(w)


def ternary_weight(w: Tensor, factor: float = 0.7) -> Tensor:
    """TWN: of each filter alpha, 0 or -alpha. 0 is where |w| <= its threshold; alpha is the mean |w| of its others.

    That alpha is the best for its threshold. The gradient goes through unchanged. Where no weight of a filter is above
    the threshold (all are 0), all stay 0.

    Source: the same, equations 3 and 5; algorithm 1 of the third version goes filter by filter.
    """
    size = w.detach().abs()
    kept = size > ternary_threshold(w, factor)
    rest = tuple(range(1, w.dim()))
    alpha = (size * kept).sum(rest, keepdim=True) / kept.sum(rest, keepdim=True).clamp(min=1)
    return straight_through(w, alpha * kept * sign(w.detach()))


def trained_ternary(w: Tensor, positive: Tensor, negative: Tensor, threshold: float = 0.05) -> Tensor:
    """TTQ: ``positive`` where w > delta, ``-negative`` where w < -delta, else 0, with delta = threshold * max |w|.

    The scales get their true gradients: the sum of the weights' gradients over where each stands, for ``negative`` with
    a minus (which the paper leaves out). The shadow weights get the gradient times ``positive``, 1 (where 0 stands) or
    ``negative``.

    Args:
        w: weights.
        positive, negative: the layer's two scales, tensors of shape (), above 0.
        threshold: a share of the largest weight.

    Source: Zhu, Han, Mao, Dally, Trained Ternary Quantization, ICLR 2017, arXiv 1612.01064.
    """
    shadow = w.detach()
    delta = threshold * shadow.abs().max()
    above, below = (shadow > delta).to(w.dtype), (shadow < -delta).to(w.dtype)
    slope = torch.where(above > 0, positive.detach(), torch.where(below > 0, negative.detach(), 1.0))
    return straight_through(w, positive * above - negative * below, slope.to(w.dtype))


def dorefa_weight(w: Tensor, bits: int) -> Tensor:
    """DoReFa-Net. One bit: mean |w| of the layer times sign(w). More: tanh(w), scaled to [0, 1], rounded to 2^bits - 1
    steps, scaled to [-1, 1].

    The gradient goes through the rounding (and the sign, mean included) unchanged, and through the rest as it is.

    Source: Zhou, Wu, Ni, Zhou, Wen, Zou, DoReFa-Net, 2016, section 2.3, "Low bitwidth quantization of weights".
    """
    if bits == 1:
        return straight_through(w, w.detach().abs().mean() * sign(w.detach()))
    squeezed, steps = torch.tanh(w), 2**bits - 1
    unit = squeezed / (2 * squeezed.abs().max()) + 0.5
    return 2 * straight_through(unit, (unit.detach() * steps).round() / steps) - 1


def log_quantize(x: Tensor, bits: int, top: int, *, signed: bool, per_octave: int = 1) -> Tensor:
    """LogNet: 0 or a power of 2^(1 / per_octave), the nearest in the logarithm, at most 2^(top / per_octave).

    Of the codes, one is 0 and one bit is for the sign if ``signed``; so there are 2^bits - 1 or 2^(bits - 1) - 1
    exponents, from ``top`` down. What would need a lower one is 0. (The paper's Clip gives the exponent 0 there, which
    would make it 1.) The gradient goes through where |x| is not above the largest power, and where an unsigned x is
    not below 0.

    Args:
        x: floating point.
        bits: of a code, the sign's among them.
        top: the largest exponent, in steps.
        signed: weights are; activations behind a ReLU are not, and below 0 become 0.
        per_octave: 1 for the base 2, 2 for the square root of 2.

    Source: LogQuant of Miyashita, Lee, Murmann, Convolutional Neural Networks using Logarithmic Data Representation,
    2016, arXiv 1603.01025; Lee and others, LogNet, ICASSP 2017, whose weights have the base root 2.
    """
    count = 2 ** (bits - signed) - 1
    exponents = torch.arange(top - count + 1, top + 1, dtype=torch.float64)
    powers = torch.cat([torch.zeros(1), torch.exp2(exponents / per_octave)]).to(x)
    given = x.detach()
    size = given.abs() if signed else given.clamp(min=0)
    nearest = (size.log2() * per_octave).round()  # never a tie: half-way exponents are not rational
    value = powers[(nearest - (top - count)).clamp(0, count).to(torch.int32)]
    if signed:
        return straight_through(x, value * sign(given), (given.abs() <= powers[-1]).to(x.dtype))
    return straight_through(x, value, ((given >= 0) & (given <= powers[-1])).to(x.dtype))


def incremental_levels(largest: float, bits: int = 5) -> Tensor:
    """INQ: 0 and the powers of two 2^n2 .. 2^n1 that a layer's weights are made of, up to sign; float64, ascending.

    n1 = floor(log2(4/3 * largest)) and n2 = n1 + 1 - 2^(bits - 1) / 2: one bit is for 0, the others for sign and power.

    Args:
        largest: the largest |w| of the layer, above 0.
        bits: 2 or more; of a code.

    Source: Zhou, Yao, Guo, Xu, Chen, Incremental Network Quantization, ICLR 2017, section 2.1, equations 2 and 3.
    """
    n1 = math.frexp(4 * largest / 3)[1] - 1
    n2 = n1 + 1 - 2 ** (bits - 1) // 2
    return torch.tensor([0.0, *(2.0**n for n in range(n2, n1 + 1))], dtype=torch.float64)


def incremental_round(w: Tensor, levels: Tensor) -> Tensor:
    """INQ: |w| becomes the level b for which (a + b) / 2 <= |w| < 3 b / 2, with the next lower a; the sign stays.

    No gradient: what is rounded is frozen, and the others make up for it.

    Source: the same, equation 4.
    """
    limits = (levels[:-1] + levels[1:]) / 2
    index = torch.bucketize(w.detach().abs().double(), limits, right=True)
    return (levels[index] * w.detach().sign()).to(w.dtype)
