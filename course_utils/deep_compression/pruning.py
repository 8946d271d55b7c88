"""Pruning: the smallest weights become zero and stay zero, whatever trains the others.

S. Han, J. Pool, J. Tran, W. Dally, "Learning both Weights and Connections", 2015. Stands on torch's parametrizations.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

__all__ = ["by_layer", "magnitude_mask", "prune", "settle", "settle_layer", "weight_layers"]


def weight_layers(network: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    """The convolutions and linear layers by name, in the network's order.

    Raises:
        ValueError: if there is none, or two share a weight.
    """
    layers = {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    if not layers:
        raise ValueError(f"{type(network).__name__} has neither a convolution nor a linear layer")
    seen: dict[int, str] = {}
    for name, layer in layers.items():
        if not parametrize.is_parametrized(layer, "weight"):
            other = seen.setdefault(id(layer.weight), name)
            if other != name:
                raise ValueError(f"layers {other} and {name} have one weight tensor together; give each its own")
    return layers


def by_layer(setting: float | Mapping[str, float], network: nn.Module) -> dict[str, float]:
    """A setting for each of `weight_layers`: the same for all, or what a mapping says.

    Raises:
        KeyError: if the mapping leaves a layer out, or names one that is not there.
    """
    layers = weight_layers(network)
    if not isinstance(setting, Mapping):
        return dict.fromkeys(layers, setting)
    if setting.keys() != layers.keys():
        raise KeyError(f"settings are for {', '.join(setting)}; the layers are {', '.join(layers)}")
    return {name: setting[name] for name in layers}


def magnitude_mask(weight: Tensor, share: float) -> Tensor:
    """Where to keep a weight: all but ``round(share * n)`` of the smallest magnitudes; of equal ones the earlier go.

    Args:
        weight: any shape, n numbers.
        share: of the weights, to prune; 0 to 1.

    Returns:
        bool, of the weight's shape.

    Raises:
        ValueError: if the share is out of range.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is 0 to 1, not {share}")
    mask = torch.ones(weight.numel(), dtype=torch.bool)
    mask[weight.detach().abs().flatten().argsort(stable=True)[: round(share * weight.numel())]] = False
    return mask.view_as(weight)


class Mask(nn.Module):
    """A weight with zeros where the mask has none; so the gradient is zero there, too."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        return torch.where(self.mask, weight, 0.0)


def prune(network: nn.Module, shares: float | Mapping[str, float]) -> None:
    """Prunes each layer's smallest weights. Any training afterwards leaves them zero. A later call can prune more.

    Args:
        network: changed in place.
        shares: of a layer's weights that shall be zero: for all layers alike, or by the names of `weight_layers`.

    Raises:
        ValueError: if a share is out of range, or a layer shares its weights already.
        KeyError: as `by_layer`.
    """
    layers, masks = weight_layers(network), {}
    for name, share in by_layer(shares, network).items():
        layer = layers[name]
        if parametrize.is_parametrized(layer, "weight") and not isinstance(layer.parametrizations.weight[0], Mask):
            raise ValueError(f"layer {name} has a codebook; prune before sharing")
        masks[name] = Mask(magnitude_mask(layer.weight, share))
    for name, mask in masks.items():
        settle_layer(layers[name])
        parametrize.register_parametrization(layers[name], "weight", mask)


def settle(network: nn.Module) -> nn.Module:
    """Masks and codebooks become plain weights with these values.

    Returns:
        the network, changed in place.
    """
    for layer in weight_layers(network).values():
        settle_layer(layer)
    return network


def settle_layer(layer: nn.Conv2d | nn.Linear) -> None:
    """As `settle`, for one layer."""
    if not parametrize.is_parametrized(layer, "weight"):
        return
    # torch's remove_parametrizations takes the weight from the class, which copies of the layer have, too
    weight = layer.weight.detach().clone()
    layer.__class__ = type(layer).__bases__[0]
    del layer.parametrizations
    bias = layer._parameters.pop("bias")
    layer.weight = nn.Parameter(weight)
    layer.register_parameter("bias", bias)  # behind the weight, where it was; it may be None
