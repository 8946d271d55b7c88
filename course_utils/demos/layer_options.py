"""A network whose layers each have settings of their own: what they do to the noise behind every layer, and to the
answers.

`layer_options_demo` gets a function that measures a network with given settings, the student's profiler, and never
brings one along. `draw_frame` and `draw_layer_options` show the signal-to-noise ratio behind every layer and how many
answers are right; `layer_options_still` does so without controls.

Stands on `profiler` (the layers in whole numbers), `demos.base` (the image in HTML), `plots`.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import nn

from course_utils.demos.base import Stage, live
from course_utils.pictures import plots
from course_utils.profiler.layers import IntegerLayer, Range
from course_utils.profiler.options import Options

__all__ = [
    "WAYS",
    "LayerOptions",
    "Measured",
    "Setting",
    "compute_layer_options",
    "draw_layer_options",
    "layer_options_demo",
    "layer_options_still",
]

WAYS: dict[str, dict[str, bool]] = {
    "per channel": {},
    "per tensor": {"per_channel_quant": False},
    "asymmetric": {"symmetric_weights": False},
    "truncating": {"rounding_div": False},
    "float32": {"quantized": False},
}
"""What can be chosen for a layer beside its bits: name -> options of `Options` that are not the defaults."""


@dataclass(frozen=True)
class Setting:
    """Of one layer: bits of weights and activations, and one of `WAYS`."""

    num_bits: int = 8
    way: str = "per channel"

    @property
    def options(self) -> Options:
        return Options(num_bits=self.num_bits, **WAYS[self.way])

    def layer(self, layer: nn.Module, input_range: Range, output_range: Range) -> nn.Module:
        """The layer with this setting: itself, if it stays in float32."""
        return IntegerLayer(layer, input_range, output_range, self.options) if self.options.quantized else layer

    def __str__(self) -> str:
        return "float32" if self.way == "float32" else f"{self.num_bits} bits\n{self.way}"


@dataclass(frozen=True)
class Measured:
    """What came of a network with some settings.

    Attributes:
        ratios: layer -> SQNR of its output, in dB; inf if there is no noise.
        right, reference_right: images that the network and its reference get right.
        changed: images on which the two disagree.
        images: how many there were.
    """

    ratios: Mapping[str, float]
    right: int
    reference_right: int
    changed: int
    images: int


Measure = Callable[[dict[str, Setting]], Measured]


@dataclass(frozen=True)
class LayerOptions:
    """What is drawn.

    Attributes:
        settings: of every layer, in the network's order.
        chosen: the layer that the controls are at.
    """

    settings: dict[str, Setting]
    measured: Measured
    chosen: str = field(default="")

    @property
    def summary(self) -> str:
        """The numbers in one line."""
        m = self.measured
        ratios = ", ".join(
            f"{name} ({str(setting).replace(chr(10), ', ')}) {_told(m.ratios[name])}"
            for name, setting in self.settings.items()
        )
        at = f"at {self.chosen}: " if self.chosen else ""
        return (
            f"{at}{m.right} of {m.images} images right, {m.reference_right} in float32, {m.changed} with another answer"
            f" · SQNR behind {ratios}"
        )


def _told(ratio: float) -> str:
    if math.isfinite(ratio):
        return f"{ratio:.1f} dB"
    return "NaN" if math.isnan(ratio) else "no noise" if ratio > 0 else "no signal"


def compute_layer_options(measure: Measure, settings: Mapping[str, Setting], chosen: str = "") -> LayerOptions:
    """Measures a network.

    Args:
        measure: gives what came of the network with these settings; whatever it raises passes through.
        settings: of every layer, in the network's order.
        chosen: see `LayerOptions`.
    """
    return LayerOptions(dict(settings), measure(dict(settings)), chosen)


def draw_frame(computed: LayerOptions, axes: Sequence[Any]) -> None:
    """What no setting changes, on two axes: the layers' names, the numbers of images, titles and limits."""
    left, right = axes
    left.set_xticks(range(len(computed.settings)), list(computed.settings), fontsize=8)
    left.set_xlim(-0.5, len(computed.settings) - 0.5)
    left.set_ylim(-5, 65)
    left.set_ylabel("SQNR behind the layer (dB)")
    left.set_title("noise, layer by layer")
    right.set_xticks(range(3), ["right,\nfloat32", "right,\nhere", "another\nanswer"])
    right.set_xlim(-0.6, 2.6)
    right.set_ylim(0, 1.12 * computed.measured.images)
    right.set_ylabel(f"of {computed.measured.images} images")
    right.set_title("answers")


def draw_layer_options(computed: LayerOptions, axes: Sequence[Any], *, animated: bool = False) -> list[Artist]:
    """Draws on the two axes of `draw_frame`: the ratio behind every layer, with its setting; images that are right and
    those with another answer.

    Args:
        animated: for a canvas that is drawn already: what is new is drawn by whoever calls.

    Returns:
        What is new.
    """
    left, right = axes
    measured, parts = computed.measured, []
    values = [measured.ratios[name] for name in computed.settings]
    finite = [value if math.isfinite(value) else math.nan for value in values]
    parts += left.plot(range(len(values)), finite, "-", color=plots.COLOURS["blue"], linewidth=1, animated=animated)
    for place, ((name, setting), value) in enumerate(zip(computed.settings.items(), values, strict=True)):
        here = name == computed.chosen
        marker, colour = ("D", "vermillion") if here else ("o", "blue")
        height = value if math.isfinite(value) else 0.0
        size = 10 if here else 7
        parts += left.plot(place, height, marker, color=plots.COLOURS[colour], markersize=size, animated=animated)
        told = {"ha": "center", "fontsize": 9, "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 0.8}}
        parts.append(left.text(place, height + 3, _told(value), animated=animated, **told))  # a line may pass there
        below = {"va": "top", "ha": "center", "fontsize": 8, "transform": left.get_xaxis_transform()}
        parts.append(left.text(place, -0.11, str(setting), animated=animated, **below))
    counts = (measured.reference_right, measured.right, measured.changed)
    for place, (count, colour, hatch) in enumerate(
        zip(counts, ("sky", "blue", "vermillion"), ("", "", "//"), strict=True)
    ):
        bar = Rectangle((place - 0.4, 0), 0.8, count, facecolor=plots.COLOURS[colour], edgecolor="white", hatch=hatch)
        bar.set_animated(animated)
        parts.append(right.add_patch(bar))
        parts.append(right.text(place, count, f"{count}", ha="center", va="bottom", animated=animated))
    return parts


def layer_options_still(
    measure: Measure, layers: Sequence[str], changes: Sequence[Mapping[str, tuple[int, str]]]
) -> Figure:
    """The demo without controls: one row for each entry of ``changes``: layer -> its ``(num_bits, way)``, where it is
    not 8 bits per channel.
    """
    figure = Figure(figsize=(10, 3.2 * len(changes)), layout="constrained")
    rows = figure.subplots(len(changes), 2, squeeze=False, width_ratios=[3, 1])
    told = []
    for axes, entry in zip(rows, changes, strict=True):
        settings = {name: Setting(*entry.get(name, ())) for name in layers}
        computed = compute_layer_options(measure, settings)
        draw_frame(computed, axes)
        draw_layer_options(computed, axes)
        told.append(computed.summary)
    figure.set_label(". ".join(told))  # the text alternative: see alt_text
    return figure


def _stage(computed: LayerOptions) -> Stage:
    """The frame, on which numbers change."""
    figure = Figure(figsize=(10.5, 3.6), dpi=72, layout="none")
    axes = figure.subplots(1, 2, width_ratios=[3, 1])
    figure.subplots_adjust(left=0.06, right=0.985, top=0.91, bottom=0.2, wspace=0.16)
    draw_frame(computed, axes)
    stage = Stage(figure)
    stage.keep()
    return stage


def layer_options_demo(measure: Measure, layers: Sequence[str]) -> Any:
    """A choice of the layer, a slider for its bits and a choice of the way; the pictures follow.

    Every layer keeps its settings while others are changed. All controls take the keyboard. The picture carries its
    numbers as text for screen readers. What the student's functions raise is shown in the picture's place.

    Returns:
        An ipywidgets box.
    """
    import ipywidgets as widgets

    style = {"description_width": "60px"}
    settings = {name: Setting() for name in layers}
    choice = widgets.Dropdown(options=list(layers), description="layer", style=style)
    wide = widgets.Layout(width="340px")
    bits = widgets.IntSlider(value=8, min=2, max=12, description="num_bits", style=style, layout=wide)
    way = widgets.Dropdown(options=list(WAYS), description="way", style=style)
    picture = widgets.HTML()
    stage: Stage | None = None
    known: dict[tuple[Setting, ...], Measured] = {}
    moving = False  # the controls go to another layer's settings: nothing is measured yet

    def measured(asked: dict[str, Setting]) -> Measured:
        """Once for each settings: who only looks at another layer, or goes back, does not wait."""
        if (key := tuple(asked.values())) not in known:
            known[key] = measure(asked)
        return known[key]

    def show() -> str:
        nonlocal stage
        computed = compute_layer_options(measured, settings, choice.value)
        stage = stage or _stage(computed)
        parts = draw_layer_options(computed, stage.axes, animated=True)
        return f"<p>{html.escape(computed.summary)}</p>{stage.image(parts, computed.summary)}"

    update = live(picture, show)

    def choose(_: Any) -> None:
        nonlocal moving
        moving = True
        bits.value, way.value = settings[choice.value].num_bits, settings[choice.value].way
        moving = False
        update()

    def change(_: Any) -> None:
        if not moving:
            settings[choice.value] = Setting(bits.value, way.value)
            update()

    choice.observe(choose, names="value")
    for control in (bits, way):
        control.observe(change, names="value")
    update()
    return widgets.VBox([choice, bits, way, picture])
