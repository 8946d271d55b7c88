"""A demo: how many bits for the weights, how many for the activations, and what is left of a network's accuracy.

`BitsAndAccuracy` holds a network, some images and the ranges of its layers' inputs; its ``compute`` turns two numbers
of bits into an accuracy and a histogram, in well under a tenth of a second. `draw` puts that on two axes; `demo` has
sliders and `still` a few settings side by side, for those without widgets. It rounds with the function that it is
handed, the student's.

Stands on `demos` (the picture as HTML), `plots`, torch, matplotlib and ipywidgets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from course_utils.demos.base import drawable, image_tag, live
from course_utils.pictures import plots

__all__ = ["BitsAndAccuracy", "Outcome", "bits_and_accuracy_demo", "bits_and_accuracy_still", "draw"]

FakeQuantize = Callable[[Tensor, float, int, int, int], Tensor]
"""``fake_quantize(x, scale, zero_point, quant_min, quant_max)``: x on a grid, in float."""

BITS = range(2, 9)


@dataclass(frozen=True)
class Outcome:
    """What two numbers of bits do to a network."""

    weight_bits: int
    activation_bits: int
    accuracy: float  # 0 to 1, of the images
    float_accuracy: float  # of the untouched network, same images
    changed: float  # share of the images whose predicted class is another than the float network's
    images: int
    layer: str  # the one in the histogram
    weights: np.ndarray  # its weights, flat
    quantized: np.ndarray  # the same on the grid
    step: float  # of that grid, in the unit of a weight

    @property
    def standard_error(self) -> float:
        """Of the accuracy, as an estimate of the accuracy on all images of the kind; binomial."""
        return math.sqrt(self.accuracy * (1 - self.accuracy) / self.images)

    @property
    def summary(self) -> str:
        """The numbers in one line."""
        return (
            f"weights {self.weight_bits} bit · activations {self.activation_bits} bit · "
            f"{100 * self.accuracy:.1f} % correct (float {100 * self.float_accuracy:.1f} %, "
            f"{self.images} images, ± {100 * self.standard_error:.1f}) · "
            f"{100 * self.changed:.1f} % of the answers changed"
        )


@dataclass
class BitsAndAccuracy:
    """A network whose layers can be run on grids of any number of bits.

    Every Conv2d and Linear gets its weights on a symmetric grid (largest magnitude at the end) and its inputs on an
    affine grid over the range they had in the float network on these same images; biases and sums stay float.

    Args:
        model: in eval mode; it is not changed.
        images: float, as the model takes them, a few hundred: they decide how quick and how exact ``compute`` is.
        labels: int64, one an image.
        fake_quantize: see `FakeQuantize`.

    Raises:
        ValueError: if there is no image, not one label for each, or no layer to quantize.
    """

    model: nn.Module
    images: Tensor
    labels: Tensor
    fake_quantize: FakeQuantize
    layers: dict[str, nn.Module] = field(init=False)
    ranges: dict[str, tuple[float, float]] = field(init=False)

    def __post_init__(self) -> None:
        if len(self.images) == 0 or len(self.images) != len(self.labels):
            raise ValueError(f"{len(self.images)} images and {len(self.labels)} labels: one label an image is needed")
        self.layers = {n: m for n, m in self.model.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))}
        if not self.layers:
            raise ValueError("the model has no Conv2d and no Linear")
        self.ranges = {}
        self._known: dict[tuple[int, int], tuple[float, float]] = {}  # bits -> accuracy, changed

        def note(name: str) -> Callable:
            def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
                low, high = self.ranges.get(name, (0.0, 0.0))
                self.ranges[name] = (min(float(inputs[0].min()), low), max(float(inputs[0].max()), high))

            return hook

        self._classes = self._run({name: note(name) for name in self.layers}, {})
        self.float_accuracy = float((self._classes == self.labels).float().mean())

    def compute(self, weight_bits: int, activation_bits: int, layer: str | None = None) -> Outcome:
        """Runs the network on the grids.

        Args:
            weight_bits, activation_bits: 2 to 8.
            layer: the one whose weights are returned; the first if None.

        Raises:
            ValueError: if a number of bits is out of its range.
            KeyError: if there is no such layer. Whatever ``fake_quantize`` raises passes through.
        """
        for bits in (weight_bits, activation_bits):
            if bits not in BITS:
                raise ValueError(f"bits are {BITS[0]} to {BITS[-1]}, not {bits}")
        layer = next(iter(self.layers)) if layer is None else layer
        weights = self.layers[layer].weight.detach()
        if (weight_bits, activation_bits) not in self._known:
            self._known[weight_bits, activation_bits] = self._measure(weight_bits, activation_bits)
        accuracy, changed = self._known[weight_bits, activation_bits]
        return Outcome(
            weight_bits=weight_bits,
            activation_bits=activation_bits,
            accuracy=accuracy,
            float_accuracy=self.float_accuracy,
            changed=changed,
            images=len(self.images),
            layer=layer,
            weights=weights.flatten().double().numpy(),
            quantized=self._on_grid(weights, weight_bits).flatten().double().numpy(),
            step=_symmetric(weights, weight_bits)[0],
        )

    def _measure(self, weight_bits: int, activation_bits: int) -> tuple[float, float]:
        def rounded(name: str) -> Callable:
            low, high = self.ranges[name]
            top = 2**activation_bits - 1
            scale = (high - low) / top or 1.0
            zero_point = round(-low / scale)

            def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
                return (self.fake_quantize(inputs[0], scale, zero_point, 0, top), *inputs[1:])

            return hook

        weights = {f"{name}.weight": self._on_grid(m.weight.detach(), weight_bits) for name, m in self.layers.items()}
        classes = self._run({name: rounded(name) for name in self.layers}, weights)
        return float((classes == self.labels).float().mean()), float((classes != self._classes).float().mean())

    def _on_grid(self, weights: Tensor, bits: int) -> Tensor:
        scale, top = _symmetric(weights, bits)
        return drawable(self.fake_quantize(weights, scale, 0, -top, top), weights.shape, self.fake_quantize)

    @torch.no_grad()
    def _run(self, hooks: dict[str, Callable], weights: dict[str, Tensor]) -> Tensor:
        """The classes that the network gives the images, with hooks before its layers and other weights in them."""
        handles = [self.layers[name].register_forward_pre_hook(hook) for name, hook in hooks.items()]
        try:
            batches = self.images.split(50)  # small enough for the processor's cache: a third faster than all at once
            return torch.cat([torch.func.functional_call(self.model, weights, (x,)).argmax(1) for x in batches])
        finally:
            for handle in handles:
                handle.remove()


def _symmetric(weights: Tensor, bits: int) -> tuple[float, int]:
    top = 2 ** (bits - 1) - 1
    return float(weights.abs().max()) / top or 1.0, top


def draw(outcome: Outcome, axes: Sequence[Any], seen: dict[tuple[int, int], float] | None = None) -> None:
    """Draws the weights' histogram with their grid, and accuracy against the bits of the weights, on two axes.

    Args:
        outcome: the numbers.
        axes: two.
        seen: (weight bits, activation bits) -> accuracy of settings looked at before; one line for each number of
            activation bits.
    """
    left, right = axes
    for ax in axes:  # drawn on before: a slider moved
        for container in [*ax.containers]:  # the error bar; it takes its own lines along
            container.remove()
        for artist in [*ax.lines, *ax.collections, *ax.patches]:
            artist.remove()
    size = 1.08 * float(np.abs(outcome.weights).max() or 1.0)
    plots.grid_histogram(left, outcome.weights, outcome.quantized, np.linspace(-size, size, 81), step=outcome.step)
    left.set_xlim(-size, size)
    left.set_ylim(0, 1.08 * max(_tops(left)))
    left.locator_params(nbins=5)  # every tick takes a millisecond of the demo's tenth of a second
    left.set_xlabel(f"weight of {outcome.layer}")
    left.set_ylabel("weights (% a step)")
    left.set_title(f"{outcome.weight_bits} bit weights, step {outcome.step:.3g}", y=1.0)
    left.legend(loc="upper left", fontsize=8)

    seen = {**(seen or {}), (outcome.weight_bits, outcome.activation_bits): outcome.accuracy}
    right.axhline(
        100 * outcome.float_accuracy, color=plots.COLOURS["black"], linestyle="--", linewidth=1, label="float"
    )
    for activation_bits in sorted({a for _, a in seen}):
        line = sorted((w, 100 * accuracy) for (w, a), accuracy in seen.items() if a == activation_bits)
        now = activation_bits == outcome.activation_bits
        right.plot(
            *zip(*line, strict=True),
            color=plots.COLOURS["blue" if now else "sky"],
            marker=plots.MARKERS[(activation_bits - BITS[0]) % len(plots.MARKERS)],
            label=f"activations {activation_bits} bit",
            zorder=3 if now else 2,
        )
    error = 100 * outcome.standard_error
    right.errorbar(
        [outcome.weight_bits], [100 * outcome.accuracy], yerr=[error], color=plots.COLOURS["black"], capsize=4, zorder=4
    )
    right.plot(
        [outcome.weight_bits], [100 * outcome.accuracy], "o", markersize=13, fillstyle="none", color="k", zorder=4
    )
    right.set_xlim(BITS[0] - 0.4, BITS[-1] + 0.4)
    right.set_ylim(0, 100)
    right.set_xticks(list(BITS))
    right.set_yticks(range(0, 101, 25))
    right.set_xlabel("bits of the weights")
    right.set_ylabel("correct (%)")
    right.set_title(f"{100 * outcome.accuracy:.1f} % correct", y=1.0)
    right.legend(loc="lower right", fontsize=8)


def _tops(axes: Any) -> list[float]:
    """Heights of what `plots.grid_histogram` drew."""
    lines = [float(np.max(line.get_ydata())) for line in axes.lines]
    bars = [float(np.max(patch.get_data().values)) for patch in axes.patches]
    return [*lines, *bars, 1e-9]


def bits_and_accuracy_still(
    network: BitsAndAccuracy, settings: Sequence[tuple[int, int]] = ((8, 8), (4, 4), (2, 8)), layer: str | None = None
) -> Figure:
    """The demo without sliders: one column for each ``(weight_bits, activation_bits)``, with the whole curve drawn."""
    figure = Figure(figsize=(3.6 * len(settings), 6.0), layout="constrained")
    axes = figure.subplots(2, len(settings), squeeze=False)
    outcomes = [network.compute(weight_bits, activation_bits, layer) for weight_bits, activation_bits in settings]
    for column, outcome in enumerate(outcomes):
        bits = outcome.activation_bits
        draw(outcome, axes[:, column], {(w, bits): network.compute(w, bits, layer).accuracy for w in BITS})
    for ax in axes[:, 1:].flat:
        ax.set_ylabel("")
    figure.set_label(". ".join(outcome.summary for outcome in outcomes))  # the text alternative: see alt_text
    return figure


def bits_and_accuracy_demo(network: BitsAndAccuracy, weight_bits: int = 4, activation_bits: int = 8) -> Any:
    """Sliders for the bits of weights and activations, a menu for the layer; settings once seen stay on the picture.

    The sliders take the keyboard's arrow keys. The picture carries its numbers as text for screen readers. What the
    student's function raises is shown in the picture's place.

    Returns:
        An ipywidgets box.
    """
    import ipywidgets as widgets

    wide = {"layout": widgets.Layout(width="340px"), "style": {"description_width": "90px"}}
    controls = {
        "weight_bits": widgets.IntSlider(weight_bits, BITS[0], BITS[-1], description="weight bits", **wide),
        "activation_bits": widgets.IntSlider(activation_bits, BITS[0], BITS[-1], description="activ. bits", **wide),
        "layer": widgets.Dropdown(options=list(network.layers), description="histogram of", **wide),
    }
    picture = widgets.HTML()
    # a figure for each side: what a control does not change is not drawn again
    figures = [Figure(figsize=(4.2, 3.6), dpi=80, layout="none") for _ in range(2)]
    axes = [figure.subplots() for figure in figures]
    for figure, ax in zip(figures, axes, strict=True):
        figure.subplots_adjust(left=0.15, right=0.96, top=0.91, bottom=0.14)
        ax.xaxis.set_label_coords(0.5, -0.11)  # a place that matplotlib need not look for each time
        ax.yaxis.set_label_coords(-0.13, 0.5)
    images: list[tuple[Any, str]] = [(None, ""), (None, "")]  # what each shows, and the image
    seen: dict[tuple[int, int], float] = {}

    def show() -> str:
        outcome = network.compute(**{name: control.value for name, control in controls.items()})
        seen[outcome.weight_bits, outcome.activation_bits] = outcome.accuracy
        draw(outcome, axes, seen)
        shown = (outcome.layer, outcome.weight_bits), (outcome.weight_bits, outcome.activation_bits)
        texts = f"histogram of the weights of {outcome.layer}, {outcome.weight_bits} bit", outcome.summary
        for side in (0, 1):
            if images[side][0] != shown[side]:
                images[side] = shown[side], image_tag(figures[side], texts[side])
        return f"<p>{outcome.summary}</p>{images[0][1]}{images[1][1]}"

    update = live(picture, show)
    for control in controls.values():
        control.observe(update, names="value")
    update()
    return widgets.VBox([*controls.values(), picture])
