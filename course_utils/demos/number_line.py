"""The numbers that a float format has, beside those of fixed point of the same width.

In three layers, like every demo: `compute_number_line` lists the values, `draw_number_line` puts them on three axes (a
linear number line, a logarithmic one, and the distance between neighbours), `number_line_demo` and `number_line_still`
show them.

Stands on `formats`, `plots`, `demos`, torch, numpy, matplotlib and ipywidgets.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from course_utils.demos.base import image_tag, live
from course_utils.numerics.formats import FixedPoint, FloatFormat
from course_utils.pictures.plots import COLOURS

__all__ = [
    "NumberLine",
    "compute_number_line",
    "draw_number_line",
    "matching_point",
    "number_line_demo",
    "number_line_still",
]

Values = Callable[[int, int], torch.Tensor]

FLOAT_COLOUR, FIXED_COLOUR = COLOURS["blue"], COLOURS["vermillion"]


@dataclass(frozen=True)
class NumberLine:
    """Two sets of values with codes of one width. Arrays are float64, ascending."""

    exponent_bits: int
    mantissa_bits: int
    fraction_bits: int  # of the fixed point
    float_values: np.ndarray
    fixed_values: np.ndarray
    shown: float  # the linear picture reaches from -shown to shown

    @property
    def width(self) -> int:
        """Bits of a code, in both."""
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def names(self) -> tuple[str, str]:
        """Of the float format and of the fixed point."""
        integer_bits = self.width - self.fraction_bits
        return f"float e{self.exponent_bits}m{self.mantissa_bits}", f"fixed {integer_bits}.{self.fraction_bits}"

    @property
    def summary(self) -> str:
        """The numbers in one line."""
        parts = []
        for name, values in zip(self.names, (self.float_values, self.fixed_values), strict=True):
            positive = values[values > 0]
            inside = 100 * np.mean(np.abs(values) < 1)
            parts.append(
                f"{name}: {len(values)} values, smallest {positive[0]:.4g}, largest {positive[-1]:.6g}, "
                f"{inside:.0f} % of them within (-1, 1)"
            )
        return " · ".join(parts)


def matching_point(exponent_bits: int, mantissa_bits: int) -> int:
    """The fraction bits with which fixed point of the same width just covers the float format's range."""
    width = 1 + exponent_bits + mantissa_bits
    _, integer_bits = math.frexp(FloatFormat(exponent_bits, mantissa_bits).largest)
    return width - 1 - integer_bits


def compute_number_line(
    exponent_bits: int,
    mantissa_bits: int,
    fraction_bits: int | None = None,
    *,
    zoom: int = 0,
    values: Values | None = None,
) -> NumberLine:
    """Lists the values of both formats.

    Args:
        exponent_bits, mantissa_bits: of an IEEE-style float format of at most 16 bits.
        fraction_bits: where the fixed point's point is; `matching_point` if None.
        zoom: the linear picture is 2^zoom times as near.
        values: ``values(exponent_bits, mantissa_bits)``, all finite values of the float format: the student's own, and
            whatever it raises passes through. The kit's if None.

    Raises:
        ValueError: for a format of more than 16 bits.
    """
    float_format = FloatFormat(exponent_bits, mantissa_bits)
    if float_format.bits > 16:
        raise ValueError(f"{float_format} has too many values for a picture")
    if fraction_bits is None:
        fraction_bits = matching_point(exponent_bits, mantissa_bits)
    fixed = FixedPoint(float_format.bits - fraction_bits, fraction_bits)
    listed = float_format.values() if values is None else values(exponent_bits, mantissa_bits)
    return NumberLine(
        exponent_bits=exponent_bits,
        mantissa_bits=mantissa_bits,
        fraction_bits=fraction_bits,
        float_values=np.sort(torch.as_tensor(listed).double().numpy()),
        fixed_values=fixed.values().double().numpy(),
        shown=1.05 * float_format.largest / 2**zoom,
    )


def draw_number_line(line: NumberLine, axes: Sequence[Axes]) -> None:
    """Draws on three axes: all values on a linear scale, the positive ones on a logarithmic one, the gaps between them.

    Logarithms are taken here and the axes stay linear: matplotlib's own logarithmic axes are ten times as slow.
    """
    linear, logarithmic, gaps = axes
    for ax in axes:  # drawn on before: a slider moved. Emptying axes is faster than making new ones
        for artist in [*ax.collections, *ax.patches]:
            artist.remove()
    rows = ((line.float_values, 1.0, FLOAT_COLOUR), (line.fixed_values, 0.0, FIXED_COLOUR))
    for values, height, colour in rows:
        for ax, seen in ((linear, values[np.abs(values) <= line.shown]), (logarithmic, np.log2(values[values > 0]))):
            ax.add_collection(_ticks(seen, height, colour, ax is linear, line.shown), autolim=False)
    for ax in (linear, logarithmic):
        ax.set_yticks([1, 0], line.names)
        for label, colour in zip(ax.get_yticklabels(), (FLOAT_COLOUR, FIXED_COLOUR), strict=True):
            label.set_color(colour)
        ax.set_ylim(-0.6, 1.6)
        ax.grid(False)
    linear.set_xlim(-line.shown, line.shown)

    lowest = min(v[v > 0][0] for v in (line.float_values, line.fixed_values))
    largest = max(line.float_values[-1], line.fixed_values[-1])
    distances = []
    for (values, _, colour), style in zip(rows, ("-", "--"), strict=True):
        positive = values[values > 0]
        # the distance changes at few places: only these are drawn, as a staircase
        distance = np.diff(positive)
        corners = np.flatnonzero(np.diff(distance, prepend=-1.0))
        edges = np.log2(np.append(positive[corners], positive[-1]))
        distances.append(np.log2(distance[corners]))
        gaps.stairs(distances[-1], edges, baseline=None, color=colour, linestyle=style, linewidth=1.8)
    for ax in (logarithmic, gaps):
        ax.set_xlim(math.log2(lowest) - 0.7, math.log2(largest) + 0.7)
        _powers_of_two(ax.xaxis, *ax.get_xlim())
    every = np.concatenate(distances)
    gaps.set_ylim(every.min() - 1, every.max() + 1)
    _powers_of_two(gaps.yaxis, *gaps.get_ylim(), ticks=5)
    for ax in axes:
        ax.set_xlabel("value")
    gaps.set_ylabel("distance")
    captions = (
        "every value, linear scale",
        "every positive value, logarithmic scale",
        "from each value to the next one (float solid, fixed dashed)",
    )
    for ax, caption in zip(axes, captions, strict=True):
        if not ax.texts:  # as text, not as title: matplotlib measures everything on the axes to place a title
            ax.text(0, 1.03, caption, transform=ax.transAxes, ha="left", va="bottom", fontsize=10)


def _ticks(positions: np.ndarray, height: float, colour: str, linear: bool, shown: float) -> LineCollection:
    """One upright stroke for each position; where many would fall on one pixel, one of them."""
    if len(positions) > 400:
        pixel = shown / 1000 if linear else (positions[-1] - positions[0]) / 2000
        positions = np.unique(np.round(positions / pixel)) * pixel
    strokes = np.empty((len(positions), 2, 2))
    strokes[:, :, 0] = positions[:, None]
    strokes[:, :, 1] = height - 0.36, height + 0.36
    return LineCollection(strokes, colors=colour, linewidths=1.0 if len(positions) <= 300 else 0.5)


def _powers_of_two(axis: Axis, low: float, high: float, ticks: int = 9) -> None:
    """Labels an axis of logarithms with the numbers themselves."""
    stride = max(1, math.ceil((high - low) / ticks))
    exponents = np.arange(math.ceil(low / stride) * stride, high, stride, dtype=int)
    labels = [f"{2**e}" if 0 <= e <= 14 else f"1/{2**-e}" if -10 <= e < 0 else f"2^{e}" for e in exponents.tolist()]
    axis.set_ticks(exponents, labels)


def number_line_still(
    splits: Sequence[tuple[int, int]] = ((3, 4), (5, 2)), *, zoom: int = 0, values: Values | None = None
) -> Figure:
    """The demo without sliders: one column for each ``(exponent_bits, mantissa_bits)``."""
    figure = Figure(figsize=(5.6 * len(splits), 6), layout="constrained")
    grid = figure.subplots(3, len(splits), squeeze=False, height_ratios=(1, 1, 1.6))
    lines = [compute_number_line(*split, zoom=zoom, values=values) for split in splits]
    for column, line in enumerate(lines):
        draw_number_line(line, grid[:, column])
    figure.set_label(". ".join(line.summary for line in lines))  # the text alternative: see alt_text
    return figure


def number_line_demo(values: Values | None = None, exponent_bits: int = 3, mantissa_bits: int = 4) -> Any:
    """Sliders for the bits of exponent and mantissa, for the fixed point's point, and for the zoom.

    When the float format changes, the point moves to where fixed point of the same width covers its range. The sliders
    take the keyboard's arrow keys. The picture carries its numbers as text for screen readers. What the student's
    function raises is shown in the picture's place.

    Args:
        values: ``values(exponent_bits, mantissa_bits)``, the student's; the kit's if None.

    Returns:
        An ipywidgets box.
    """
    import ipywidgets as widgets

    wide = {"layout": widgets.Layout(width="380px"), "style": {"description_width": "110px"}}
    exponent = widgets.IntSlider(value=exponent_bits, min=2, max=5, description="exponent bits", **wide)
    mantissa = widgets.IntSlider(value=mantissa_bits, min=1, max=6, description="mantissa bits", **wide)
    point = widgets.IntSlider(
        value=matching_point(exponent_bits, mantissa_bits), min=-14, max=14, description="fraction bits", **wide
    )
    zoom = widgets.IntSlider(value=0, min=0, max=8, description="zoom, 2^", **wide)
    picture = widgets.HTML()
    figure = Figure(figsize=(8.6, 5.6), dpi=80, layout="none")
    figure.subplots_adjust(left=0.12, right=0.98, top=0.95, bottom=0.1, hspace=0.85)
    axes = figure.subplots(3, 1, height_ratios=(1, 1, 1.5))
    quiet = []

    def show() -> str:
        line = compute_number_line(exponent.value, mantissa.value, point.value, zoom=zoom.value, values=values)
        draw_number_line(line, axes)
        return f"<p>{html.escape(line.summary)}</p>{image_tag(figure, line.summary)}"

    draw = live(picture, show)

    def update(_: Any = None) -> None:
        if not quiet:
            draw()

    def change_format(_: Any = None) -> None:
        quiet.append(True)
        point.value = matching_point(exponent.value, mantissa.value)
        quiet.pop()
        update()

    exponent.observe(change_format, names="value")
    mantissa.observe(change_format, names="value")
    for slider in (point, zoom):
        slider.observe(update, names="value")
    update()
    row = widgets.Layout(flex_flow="row wrap")
    return widgets.VBox(
        [widgets.HBox([exponent, mantissa], layout=row), widgets.HBox([point, zoom], layout=row), picture]
    )
