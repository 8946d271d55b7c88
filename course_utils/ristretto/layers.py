"""Networks whose layers round their weights, inputs and outputs, with the float weights kept behind.

Stands on torch, `formats` and `course_utils.low_bit` for the straight-through gradient.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from course_utils.low_bit.straight_through import straight_through
from course_utils.ristretto.formats import Format, LayerFormats

__all__ = ["Ranges", "RoundingLayer", "measure", "quantized", "replaceable_layers", "replaced", "rounding_layers"]


@dataclass(frozen=True)
class Ranges:
    """The largest magnitudes of one layer.

    Attributes:
        convolution: whether the layer is a convolution, else it is fully connected.
        weight, input, output: max |w|, and max of what went in and came out over the calibration images.
    """

    convolution: bool
    weight: float
    input: float
    output: float


def replaceable_layers(network: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    """Path -> layer, of all convolutions in two dimensions and fully connected layers; one that is called at several
    paths is there once.

    Raises:
        ValueError: if there is none, one computes something else than torch's own, or the network is in training mode.
    """
    if network.training:
        raise ValueError("the network is in training mode; call network.eval() first")
    found = {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)}
    if not found:
        raise ValueError(f"{type(network).__name__} has neither torch.nn.Conv2d nor torch.nn.Linear layers")
    for name, layer in found.items():
        if type(layer).forward not in (nn.Conv2d.forward, nn.Linear.forward):
            raise ValueError(f"{name}: {type(layer).__name__} has a forward of its own, which would be replaced")
    return found


def replaced(
    network: nn.Module,
    formats: Mapping[str, LayerFormats],
    make: Callable[[nn.Conv2d | nn.Linear, LayerFormats], nn.Module],
) -> nn.Module:
    """A copy of a network, with what ``make`` makes of a layer and its formats in the layer's place, at every path that
    leads to it.

    Raises:
        ValueError: if there is no such layer at a path, or ``make`` refuses one; the message names it.
    """
    network = copy.deepcopy(network)
    layers = replaceable_layers(network)
    if unknown := formats.keys() - layers.keys():
        raise ValueError(f"no convolution or fully connected layer is at {sorted(unknown)[0]!r}")
    new = {}
    for name, own in formats.items():
        try:
            new[layers[name]] = make(layers[name], own)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    for path, module in list(network.named_modules(remove_duplicate=False)):
        if module in new:
            network.set_submodule(path, new[module])
    return network.eval()


@torch.no_grad()
def measure(network: nn.Module, images: Tensor, batch_size: int = 500) -> dict[str, Ranges]:
    """Runs the calibration images and keeps the largest magnitudes.

    Args:
        network: in eval mode; not changed. Batch norms are best folded into the layers before
            (`course_utils.quantization.integer_network.fold_batch_norms`).
        images: float (N, ...), as the network takes them, N > 0.

    Returns:
        path of the layer -> its ranges.

    Raises:
        ValueError: if there is no image or no layer, or a weight or an activation is not finite; the message names the
            layer.
    """
    layers = replaceable_layers(network)
    if len(images) == 0:
        raise ValueError("calibration needs at least one image")
    seen = {name: [0.0, 0.0] for name in layers}

    def watch(name: str):
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            for place, value in enumerate((inputs[0], output)):
                seen[name][place] = max(seen[name][place], _largest(value, name, ("input", "output")[place]))

        return hook

    hooks = [layer.register_forward_hook(watch(name)) for name, layer in layers.items()]
    try:
        for batch in images.split(batch_size):
            network(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return {
        name: Ranges(isinstance(layer, nn.Conv2d), _largest(layer.weight, name, "weight"), *seen[name])
        for name, layer in layers.items()
    }


def _largest(x: Tensor, name: str, what: str) -> float:
    largest = float(x.detach().abs().max())
    if not largest < float("inf"):
        raise ValueError(f"{name}: its {what} is not finite")
    return largest


class RoundingLayer(nn.Module):
    """A convolution or fully connected layer that rounds what goes in, its weights, and what comes out.

    Gradients pass through the rounding as if it were not there (straight through); of activations only within the
    format's range.

    Args:
        layer: its parameters are the float ones, the "shadow weights" of a training; they are used, not copied.
        formats: see `LayerFormats`.

    Attributes:
        rounding: of the weights, ``"nearest"`` or ``"stochastic"``, drawn from ``generator``.
    """

    def __init__(self, layer: nn.Conv2d | nn.Linear, formats: LayerFormats) -> None:
        super().__init__()
        self.layer, self.formats = layer, formats
        self.rounding, self.generator = "nearest", None

    def forward(self, x: Tensor) -> Tensor:
        layer, formats = self.layer, self.formats
        x = _activation(x, formats.input)
        weight, bias = self._parameter(layer.weight, formats.weight), layer.bias
        if bias is not None:
            bias = self._parameter(bias, formats.bias)
        y = functional.linear(x, weight, bias) if isinstance(layer, nn.Linear) else layer._conv_forward(x, weight, bias)
        return _activation(y, formats.output)

    def _parameter(self, value: Tensor, form: Format | None) -> Tensor:
        if form is None:
            return value
        if self.rounding == "stochastic":
            rounded = form.quantize(value.detach(), "stochastic", generator=self.generator)
        else:
            rounded = form.quantize(value.detach())
        return straight_through(value, rounded.to(value.dtype))


def _activation(x: Tensor, form: Format | None) -> Tensor:
    if form is None:
        return x
    rounded = form.quantize(x.detach()).to(x.dtype)
    if not (torch.is_grad_enabled() and x.requires_grad):
        return rounded
    return straight_through(x, rounded, (x.detach().abs() <= form.largest).to(x.dtype))


def quantized(network: nn.Module, formats: Mapping[str, LayerFormats]) -> nn.Module:
    """A copy of the network whose layers round.

    Args:
        network: in eval mode; not changed.
        formats: path of a layer -> its formats; layers that are not in it stay as they are.

    Raises:
        ValueError: if there is no layer at a path.
    """
    return replaced(network, formats, RoundingLayer)


def rounding_layers(network: nn.Module) -> dict[str, RoundingLayer]:
    """Path -> layer, of a network that `quantized` made."""
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, RoundingLayer)}
