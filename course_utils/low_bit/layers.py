"""Layers whose weights and inputs pass through a method's functions, and how a network gets them.

Stands on torch, `weights` and `activations`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from course_utils.low_bit import activations, weights

__all__ = [
    "BinaryConnectWeight",
    "IncrementalWeight",
    "LogWeight",
    "LowBitConv2d",
    "LowBitLinear",
    "TrainedTernaryWeight",
    "advance",
    "after_step",
    "low_bit_layers",
    "replace_layers",
]

Rule = Callable[[Tensor], Tensor]
"""What a tensor becomes; a function or a module."""


class BinaryConnectWeight(nn.Module):
    """`weights.binarize`, or `weights.binarize_stochastic` while training; shadow weights are clipped after each step.

    A network trained stochastically is tested with the clipped shadow weights, as in the paper: its weights then are
    not of one bit. With ``as_signs`` it is tested with their signs.
    """

    def __init__(self, stochastic: bool = False) -> None:
        super().__init__()
        self.stochastic, self.as_signs = stochastic, False

    def forward(self, w: Tensor) -> Tensor:
        if not self.stochastic or (self.as_signs and not self.training):
            return weights.binarize(w)
        return weights.binarize_stochastic(w) if self.training else w

    def after_step(self, w: Tensor) -> None:
        w.clamp_(-1, 1)


class TrainedTernaryWeight(nn.Module):
    """`weights.trained_ternary` with a layer's two scales, which begin as the mean of what each stands for."""

    def __init__(self, w: Tensor, threshold: float = 0.05) -> None:
        super().__init__()
        self.threshold = threshold
        w = w.detach()
        delta = threshold * w.abs().max()
        self.positive = nn.Parameter(w[w > delta].mean() if (w > delta).any() else w.abs().mean())
        self.negative = nn.Parameter(-w[w < -delta].mean() if (w < -delta).any() else w.abs().mean())

    def forward(self, w: Tensor) -> Tensor:
        return weights.trained_ternary(w, self.positive, self.negative, self.threshold)


class LogWeight(nn.Module):
    """`weights.log_quantize` with the largest power next to the largest weight."""

    def __init__(self, bits: int, per_octave: int = 2) -> None:
        super().__init__()
        self.bits, self.per_octave = bits, per_octave

    def forward(self, w: Tensor) -> Tensor:
        largest = w.detach().abs().max().clamp(min=torch.finfo(w.dtype).tiny)
        top = round(float(largest.double().log2()) * self.per_octave)
        return weights.log_quantize(w, self.bits, top, signed=True, per_octave=self.per_octave)


class IncrementalWeight(nn.Module):
    """INQ: a growing share of the weights, the largest first, is rounded to powers of two and frozen; the others train.

    The levels belong to the weights that the layer has at the first call of `advance`. (Zhou and others, Incremental
    Network Quantization, ICLR 2017, section 2.2; the shares that the paper has for AlexNet are 0.3, 0.6, 0.8 and 1.)
    """

    def __init__(self, w: Tensor, bits: int = 5) -> None:
        super().__init__()
        self.bits, self.levels = bits, None
        self.register_buffer("frozen", torch.zeros_like(w, dtype=torch.bool))
        self.register_buffer("values", torch.zeros_like(w))

    def forward(self, w: Tensor) -> Tensor:
        return torch.where(self.frozen, self.values, w)

    def advance(self, w: Tensor, share: float) -> None:
        """Freeze more of the weights, until ``share`` of them are; those that are frozen already keep their values."""
        if self.levels is None:
            self.levels = weights.incremental_levels(float(w.abs().max()), self.bits)
        more = round(share * w.numel()) - int(self.frozen.sum())
        if more > 0:
            size = w.abs().masked_fill(self.frozen, -1).flatten()
            chosen = torch.zeros_like(self.frozen).flatten()
            chosen[size.topk(more).indices] = True
            chosen = chosen.view_as(self.frozen)
            self.values[chosen] = weights.incremental_round(w[chosen], self.levels)
            self.frozen |= chosen


class _LowBit:
    """What both layers share: the rules, and the shadow weights in ``weight``."""

    weight: nn.Parameter
    weight_rule: Rule
    input_rule: Rule | None
    output_rule: Rule | None
    scales_input: bool

    def seen_weight(self) -> Tensor:
        """The weights that the network computes with."""
        return self.weight_rule(self.weight)


class LowBitConv2d(nn.Conv2d, _LowBit):
    """A convolution: ``weight_rule(weight)`` over ``input_rule(x)``.

    Zeros are padded before ``input_rule``, so that what lies outside the image is a value that the method has (+1 for
    signs).

    Attributes:
        weight_rule: what the weights pass through.
        input_rule, output_rule: what inputs and outputs pass through; None: they stay as they are.
        scales_input: whether the output is multiplied by XNOR-Net's K, from the inputs before ``input_rule``.
    """

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = self.padding
        x = functional.pad(x, (columns, columns, rows, rows))
        seen = self.input_rule(x) if self.input_rule else x
        y = functional.conv2d(seen, self.seen_weight(), self.bias, self.stride)
        if self.scales_input:
            y = y * activations.input_scale(x, self.kernel_size, self.stride)
        return self.output_rule(y) if self.output_rule else y


class LowBitLinear(nn.Linear, _LowBit):
    """The same for a linear layer."""

    def forward(self, x: Tensor) -> Tensor:
        seen = self.input_rule(x) if self.input_rule else x
        y = functional.linear(seen, self.seen_weight(), self.bias)
        if self.scales_input:
            y = y * activations.input_scale(x)
        return self.output_rule(y) if self.output_rule else y


def replace_layers(
    network: nn.Sequential,
    weight_rule: Callable[[nn.Module], Rule],
    input_rule: Rule | None = None,
    *,
    ends: bool = False,
    scales_input: bool = False,
    output_rule: Rule | None = None,
) -> nn.Sequential:
    """A network of the same layers and weights in which the convolutions and linear layers are of low bits.

    The first layer's inputs are the image and stay as they are. A ReLU between two layers goes where an ``input_rule``
    takes its place. What is neither convolution nor linear is copied.

    Args:
        network: its convolutions and linear layers are its own members; convolutions have one group, no dilation, and
            pad with zeros, alike on opposite sides. Not changed.
        weight_rule: called with each layer that is replaced (its weights may be looked at), gives what its weights pass
            through; for a plain function, ``lambda layer: function``.
        input_rule: what their inputs pass through; None leaves the ReLU.
        ends: whether the first and the last layer are replaced, too.
        scales_input: see `LowBitConv2d`.
        output_rule: what their outputs pass through (DoReFa's rounding of gradients).

    Raises:
        TypeError: if the network is not of that kind.
        ValueError: if no layer is to be replaced.
    """
    if not isinstance(network, nn.Sequential):
        raise TypeError(f"replace_layers takes an nn.Sequential, not {type(network).__name__}")
    copied = copy.deepcopy(network)
    places = [i for i, layer in enumerate(copied) if isinstance(layer, nn.Conv2d | nn.Linear)]
    chosen = places if ends else places[1:-1]
    if not chosen:
        raise ValueError(f"no layer to replace: the network has {len(places)} with weights, ends={ends}")
    for place in chosen:
        layer = copied[place]
        if isinstance(layer, nn.Conv2d) and not (
            layer.groups == 1 and layer.dilation == (1, 1) and isinstance(layer.padding, tuple)
        ):
            raise TypeError(f"layer {place}: {layer} has groups, dilation or a padding by name")
        rule = weight_rule(layer)
        # the class alone changes: weights, bias and options stay as they are
        layer.__class__ = LowBitConv2d if isinstance(layer, nn.Conv2d) else LowBitLinear
        layer.weight_rule, layer.output_rule = rule, output_rule
        inner = place != places[0]
        layer.input_rule, layer.scales_input = (input_rule, scales_input) if inner else (None, False)
        if input_rule and inner:
            before = max(i for i in places if i < place)
            for i in range(before + 1, place):
                if isinstance(copied[i], nn.ReLU):
                    copied[i] = nn.Identity()
    return copied


def low_bit_layers(network: nn.Module) -> list[LowBitConv2d | LowBitLinear]:
    """Those that `replace_layers` made, in their order."""
    return [layer for layer in network.modules() if isinstance(layer, _LowBit)]


@torch.no_grad()
def after_step(network: nn.Module) -> None:
    """What the methods do to the shadow weights after each step of the optimizer; BinaryConnect clips them."""
    for layer in low_bit_layers(network):
        if hasattr(layer.weight_rule, "after_step"):
            layer.weight_rule.after_step(layer.weight)


@torch.no_grad()
def advance(network: nn.Module, share: float) -> None:
    """For INQ: freeze the weights of each layer up to this share."""
    for layer in low_bit_layers(network):
        if hasattr(layer.weight_rule, "advance"):
            layer.weight_rule.advance(layer.weight, share)
