"""What a layer's inputs become in each method of the lecture's table, and what gradient they get.

Each function maps float tensors of any shape to ones of the same shape and dtype. They stand where else a ReLU would,
behind a batch normalization. Stands on torch, `straight_through` and `levels`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from course_utils.low_bit.levels import half_wave_levels
from course_utils.low_bit.straight_through import sign, straight_through

__all__ = ["dorefa_activation", "dorefa_gradient", "half_wave", "input_scale", "qnn_activation", "sign_activation"]


def sign_activation(x: Tensor) -> Tensor:
    """BNN and XNOR-Net: +1 where x >= 0, else -1; the gradient goes through where |x| <= 1, as through a hard tanh.

    Source: Courbariaux, Hubara, Soudry, El-Yaniv, Bengio, Binarized Neural Networks, 2016, equation 4.
    """
    given = x.detach()
    return straight_through(x, sign(given), (given.abs() <= 1).to(x.dtype))


def input_scale(x: Tensor, kernel: tuple[int, int] | None = None, stride: tuple[int, int] = (1, 1)) -> Tensor:
    """XNOR-Net's K: the mean |x| of all that one output is made from. The product of signs is multiplied by it.

    Its gradient is the true one (the paper does not say).

    Args:
        x: (B, C, H, W), padded, with ``kernel``; or (B, features) without.

    Returns:
        (B, 1, H', W') or (B, 1).

    Source: Rastegari and others, XNOR-Net, 2016, section 3.2, equation 11.
    """
    mean = x.abs().mean(1, keepdim=True)
    return mean if kernel is None else functional.avg_pool2d(mean, kernel, stride)


def qnn_activation(x: Tensor, bits: int) -> Tensor:
    """QNN: the nearest of 2^bits evenly spaced levels from -1 to 1 (ties up); one bit is BNN's sign.

    The paper leaves the range open; this one makes BNN the case of one bit. The gradient goes through where |x| <= 1.

    Source: Hubara, Courbariaux, Soudry, El-Yaniv, Bengio, Quantized Neural Networks, 2016, arXiv 1609.07061, its
    linear quantization.
    """
    steps, given = 2**bits - 1, x.detach()
    value = ((given.clamp(-1, 1) + 1) / 2 * steps + 0.5).floor() / steps * 2 - 1
    return straight_through(x, value, (given.abs() <= 1).to(x.dtype))


def dorefa_activation(x: Tensor, bits: int) -> Tensor:
    """DoReFa-Net: clip(x, 0, 1) rounded to 2^bits - 1 steps; the gradient goes through where 0 <= x <= 1.

    Source: Zhou and others, DoReFa-Net, 2016, section 2.4, "Low bitwidth quantization of activations".
    """
    steps, given = 2**bits - 1, x.detach()
    value = (given.clamp(0, 1) * steps).round() / steps
    return straight_through(x, value, ((given >= 0) & (given <= 1)).to(x.dtype))


class _RoundedGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, bits: int, generator: torch.Generator | None) -> Tensor:
        ctx.bits, ctx.generator = bits, generator
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        steps = 2**ctx.bits - 1
        largest = gradient.abs().flatten(1).amax(1).view(-1, *[1] * (gradient.dim() - 1))
        scale = 2 * largest.clamp(min=torch.finfo(gradient.dtype).tiny)
        noise = torch.rand(gradient.shape, generator=ctx.generator, dtype=gradient.dtype, device=gradient.device) - 0.5
        unit = (((gradient / scale + 0.5) * steps + noise).round() / steps).clamp(0, 1)
        return scale * (unit - 0.5), None, None


def dorefa_gradient(x: Tensor, bits: int, generator: torch.Generator | None = None) -> Tensor:
    """DoReFa-Net: ``x`` unchanged, its gradient rounded stochastically: the expectation is the gradient itself.

    The grid has 2^bits - 1 steps between plus and minus the largest magnitude of each example's gradient.

    Args:
        x: (B, ...): a layer's output.

    Source: Zhou and others, DoReFa-Net, 2016, section 2.5, "Low bitwidth quantization of gradients".
    """
    return _RoundedGradient.apply(x, bits, generator)


def half_wave(x: Tensor, bits: int) -> Tensor:
    """HWGQ: 0 for x <= 0, else the nearest of 2^bits - 1 evenly spaced levels above 0 (see `levels.half_wave_levels`).

    The gradient goes through where x is above 0 and not above the largest level: of the paper's three ways back its
    choice, the "clipped ReLU".

    Args:
        x: behind a batch normalization, near a standard normal distribution: that is what the levels are best for.
        bits: of a code.

    Source: Cai, He, Sun, Vasconcelos, Deep Learning with Low Precision by Half-wave Gaussian Quantization, CVPR 2017,
    arXiv 1702.00953.
    """
    levels = half_wave_levels(bits).to(x)
    given = x.detach()
    nearest = levels[torch.bucketize(given, (levels[:-1] + levels[1:]) / 2)]
    positive = given > 0
    return straight_through(x, nearest * positive, (positive & (given <= levels[-1])).to(x.dtype))
