"""The methods of the lecture's table, by name: what their layers are, what the table says, how they are trained here.

Stands on `layers`, `weights` and `activations`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from course_utils.low_bit import activations, layers, weights
from course_utils.low_bit.layers import Rule

__all__ = ["METHODS", "Method", "low_bit"]


@dataclass(frozen=True)
class Method:
    """A line of the table.

    Attributes:
        name: the lecture's, or a variant of it.
        source: the paper.
        weight_bits, activation_bits: as the lecture has them; 32 is float.
        keeps_ends: whether the paper keeps the first and the last layer in float (the lecture's asterisk).
        alexnet_loss: the lecture's last column: percentage points of top-5 accuracy on ImageNet that an AlexNet loses
            against float; None where the lecture has no such line.
        weight_rule, input_rule, scales_input, output_rule: for `layers.replace_layers`.
        float_share: the share of the training in which the network is a float one still: papers that start from a
            trained network.
        shares: of the weights that are frozen, stage by stage (INQ); the last is reached when training ends.
        learning_rate: Adam's at its peak.
    """

    name: str
    source: str
    weight_bits: int
    activation_bits: int
    keeps_ends: bool
    alexnet_loss: float | None
    weight_rule: Callable[[nn.Module], Rule] | None
    input_rule: Rule | None = None
    scales_input: bool = False
    output_rule: Rule | None = None
    float_share: float = 0.0
    shares: tuple[float, ...] = ()
    learning_rate: float = 0.01


def _plain(function: Rule) -> Callable[[nn.Module], Rule]:
    return lambda layer: function


def _stochastic(layer: nn.Module) -> Rule:
    """Shadow weights begin spread over [-1, 1]: near 0 each is the toss of a coin. So the learning rate is larger, too.

    (The authors' code does both: it multiplies the weights' learning rate by the inverse of Glorot's coefficients.)
    """
    with torch.no_grad():
        layer.weight /= layer.weight.abs().max()
    return layers.BinaryConnectWeight(stochastic=True)


def _log_weight(layer: nn.Module) -> Rule:
    return layers.LogWeight(bits=5 if isinstance(layer, nn.Conv2d) else 4)


def _log_activation(x):
    """4 bits, powers of two up to 4: behind a batch normalization hardly any number is above 4 * root 2."""
    return weights.log_quantize(x, 4, 2, signed=False)


_XNOR = "Rastegari, Ordonez, Redmon, Farhadi, XNOR-Net, ECCV 2016, arXiv 1603.05279"
_CONNECT = "Courbariaux, Bengio, David, BinaryConnect, NIPS 2015, arXiv 1511.00363"
_DOREFA = "Zhou, Wu, Ni, Zhou, Wen, Zou, DoReFa-Net, 2016, arXiv 1606.06160"

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("float", "", 32, 32, True, 0.0, None),
        Method(
            "BinaryConnect",
            _CONNECT,
            *(1, 32, False, 19.2),
            lambda layer: layers.BinaryConnectWeight(),
        ),
        Method(
            "BinaryConnect, stochastic",
            _CONNECT,
            *(1, 32, False, None),
            _stochastic,
            learning_rate=0.1,
        ),
        Method("BWN", _XNOR, 1, 32, True, 0.8, _plain(weights.binary_weight)),
        Method(
            "TWN",
            "Li, Zhang, Liu, Ternary Weight Networks, 2016, arXiv 1605.04711",
            *(2, 32, True, 3.7),
            _plain(weights.ternary_weight),
        ),
        Method(
            "TTQ",
            "Zhu, Han, Mao, Dally, Trained Ternary Quantization, ICLR 2017, arXiv 1612.01064",
            *(2, 32, True, 0.6),
            lambda layer: layers.TrainedTernaryWeight(layer.weight),
        ),
        Method(
            "XNOR-Net",
            _XNOR,
            *(1, 1, True, 11.0),
            _plain(weights.binary_weight),
            activations.sign_activation,
            scales_input=True,
        ),
        Method(
            "XNOR-Net, without K",
            _XNOR,
            *(1, 1, True, None),
            _plain(weights.binary_weight),
            activations.sign_activation,
        ),
        Method(
            "BNN",
            "Courbariaux, Hubara, Soudry, El-Yaniv, Bengio, Binarized Neural Networks, 2016, arXiv 1602.02830",
            *(1, 1, False, 29.8),
            lambda layer: layers.BinaryConnectWeight(),
            activations.sign_activation,
        ),
        Method(
            "DoReFa-Net",
            _DOREFA,
            *(1, 2, True, 7.63),
            _plain(partial(weights.dorefa_weight, bits=1)),
            partial(activations.dorefa_activation, bits=2),
        ),
        Method(
            "DoReFa-Net, gradients of 6 bits",
            _DOREFA,
            *(1, 2, True, None),
            _plain(partial(weights.dorefa_weight, bits=1)),
            partial(activations.dorefa_activation, bits=2),
            output_rule=partial(activations.dorefa_gradient, bits=6),
        ),
        Method(
            "QNN",
            "Hubara, Courbariaux, Soudry, El-Yaniv, Bengio, Quantized Neural Networks, 2016, arXiv 1609.07061",
            *(1, 2, False, 6.5),
            lambda layer: layers.BinaryConnectWeight(),
            partial(activations.qnn_activation, bits=2),
        ),
        Method(
            "HWGQ-Net",
            "Cai, He, Sun, Vasconcelos, Half-wave Gaussian Quantization, CVPR 2017, arXiv 1702.00953",
            *(1, 2, True, 5.2),
            _plain(weights.binary_weight),
            partial(activations.half_wave, bits=2),
        ),
        Method(
            "LogNet",
            "Lee, Miyashita, Chai, Lee, Murmann, LogNet, ICASSP 2017; arXiv 1603.01025",
            *(5, 4, False, 3.2),
            _log_weight,
            _log_activation,
        ),
        Method(
            "INQ",
            "Zhou, Yao, Guo, Xu, Chen, Incremental Network Quantization, ICLR 2017, arXiv 1702.03044",
            *(5, 32, False, -0.2),
            lambda layer: layers.IncrementalWeight(layer.weight),
            float_share=0.5,
            shares=(0.3, 0.6, 0.8, 1.0),
        ),
    )
}
"""By name. LogNet's 5 bits are those of convolutions; its linear layers have 4."""


def low_bit(network: nn.Sequential, method: str | Method, *, ends: bool | None = None) -> nn.Sequential:
    """The network with the layers of a method; see `layers.replace_layers`. Weights are copied (for BinaryConnect's
    stochastic way, stretched to [-1, 1]).

    Args:
        network: see there. Not changed.
        method: one of `METHODS`, or its name. ``"float"`` gives a copy.
        ends: whether the first and the last layer are quantized, too; by default as the paper has it.

    Raises:
        ValueError: if there is no such method.
    """
    if isinstance(method, str):
        if method not in METHODS:
            raise ValueError(f"no method is called {method!r}; there are: {', '.join(METHODS)}")
        method = METHODS[method]
    if method.weight_rule is None:
        return copy.deepcopy(network)
    ends = not method.keeps_ends if ends is None else ends
    return layers.replace_layers(
        network,
        method.weight_rule,
        method.input_rule,
        ends=ends,
        scales_input=method.scales_input,
        output_rule=method.output_rule,
    )
