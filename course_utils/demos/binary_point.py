"""The values of a tensor over the powers of two, under a fixed-point word whose binary point a slider moves.

The left picture has a bar for each exponent of 2: how many values lie between 2^k and 2^(k + 1). The bits of the word
lie above the bars that they can tell apart; what lies beyond the highest one is cut, what lies below half of the lowest
one becomes 0. The right picture has the mean squared error for every fraction length.

`compute_spread` does what depends on the tensor and the word length, `compute_point` what depends on the fraction
length too; `draw_spread` and `draw_point` put them on axes. `binary_point_demo` adds controls, `binary_point_still`
does without. In the demo only the word is drawn anew when the point moves, over a copy of everything else. The
functions that round and choose are handed in, the student's: see `PointTools`.

Stands on `demos` (the image in HTML), `plots`, torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from torch import Tensor

from course_utils.demos.base import Stage, drawable, live
from course_utils.pictures import plots

__all__ = [
    "LENGTHS",
    "Point",
    "PointTools",
    "Spread",
    "binary_point_demo",
    "binary_point_still",
    "compute_point",
    "compute_spread",
    "draw_point",
    "draw_spread",
]

LENGTHS = range(-8, 21)
"""The fraction lengths of the slider and of the error's curve."""


@dataclass(frozen=True)
class PointTools:
    """What the demo shows."""

    fixed_point: Callable[[Tensor, int, int], Tensor]  # (x, word_length, fraction_length)
    integer_length: Callable[[Tensor, int], int]  # (x, word_length)
    best_fraction_length: Callable[[Tensor, int, Sequence[int]], int]  # (x, word_length, lengths)


@dataclass(frozen=True)
class Spread:
    """A tensor and a word length."""

    name: str
    word_length: int
    exponents: np.ndarray  # int, ascending: k stands for magnitudes from 2^k to 2^(k + 1)
    shares: np.ndarray  # percent of the values, for each exponent
    zeros: float  # share of the values that are 0, 0 to 1
    errors: np.ndarray  # mean squared error for each of LENGTHS, in the values' unit squared
    safe: int  # the longest fraction without overflow
    best: int  # that of the least squared error


@dataclass(frozen=True)
class Point:
    """The same at one fraction length."""

    spread: Spread
    fraction_length: int
    cut: float  # share of the values that are cut, 0 to 1
    lost: float  # share of the values that become 0 and were not

    @property
    def error(self) -> float:
        """The mean squared error."""
        return float(self.spread.errors[LENGTHS.index(self.fraction_length)])

    @property
    def summary(self) -> str:
        """The numbers in one line."""
        spread, f = self.spread, self.fraction_length
        return (
            f"{spread.name}, Q{spread.word_length - f}.{f}: step 2^{-f} · {100 * self.cut:.2f} % of the values cut · "
            f"{100 * self.lost:.1f} % become 0 · mean squared error {self.error:.2g} · no overflow up to a fraction "
            f"length of {spread.safe}, least error at {spread.best}"
        )


def compute_spread(tools: PointTools, name: str, x: Tensor, word_length: int) -> Spread:
    """Everything that does not depend on the fraction length.

    Args:
        tools: the functions to show; what they raise passes through.
        name: of the tensor.
        x: float32 or float64, finite, with at least one number.
        word_length: 2 to 24.

    Raises:
        ValueError: if what ``tools.fixed_point`` returns cannot be drawn.
    """
    values = x.detach().flatten()
    exponents = torch.frexp(values[values != 0]).exponent.numpy() - 1
    low, high = (int(exponents.min()), int(exponents.max())) if exponents.size else (0, 0)
    low = max(low, high - 24)  # what lies further down is drawn in the last bar
    counts = np.bincount(np.maximum(exponents, low) - low, minlength=high - low + 1)
    errors = [float((_rounded(tools, values, word_length, f) - values).double().square().mean()) for f in LENGTHS]
    return Spread(
        name=name,
        word_length=word_length,
        exponents=np.arange(low, high + 1),
        shares=100 * counts / values.numel(),
        zeros=float((values == 0).double().mean()),
        errors=np.array(errors),
        safe=word_length - int(tools.integer_length(values, word_length)),
        best=int(tools.best_fraction_length(values, word_length, LENGTHS)),
    )


def _rounded(tools: PointTools, values: Tensor, word_length: int, fraction_length: int) -> Tensor:
    return drawable(tools.fixed_point(values, word_length, fraction_length), values.shape, tools.fixed_point)


def compute_point(tools: PointTools, spread: Spread, x: Tensor, fraction_length: int) -> Point:
    """The numbers of one fraction length, one of `LENGTHS`."""
    values = x.detach().flatten()
    rounded = _rounded(tools, values, spread.word_length, fraction_length)
    cut = (values - rounded).abs() > 0.5000001 * 2.0**-fraction_length  # further off than half a step
    lost = (rounded == 0) & (values != 0)
    return Point(spread, fraction_length, float(cut.double().mean()), float(lost.double().mean()))


def draw_spread(spread: Spread, axes: Sequence[Any]) -> None:
    """Draws on two axes what does not move with the point: the values, and the error over the fraction length."""
    left, right = axes
    for ax in axes:  # drawn on before: another tensor or word length was chosen
        for artist in [*ax.lines, *ax.patches]:
            artist.remove()
    edges = np.append(spread.exponents, spread.exponents[-1] + 1) - 0.5
    left.stairs(spread.shares, edges, fill=True, color=plots.COLOURS["sky"])
    left.set_xlim(min(edges[0], -8.5) - 1, max(edges[-1], 8.5) + 1)
    left.set_ylim(0, 1.35 * _top(spread))
    left.set_xlabel("exponent of 2")
    left.set_ylabel("share of the values (%)")
    left.set_title(f"{spread.name}, {spread.word_length} bits", y=1)
    right.plot(LENGTHS, np.where(spread.errors > 0, spread.errors, np.nan), ".-", color=plots.COLOURS["blue"])
    for place, line, colour, label in (
        (spread.safe, "--", "green", "no overflow"),
        (spread.best, ":", "vermillion", "least error"),
    ):
        right.axvline(place, linestyle=line, color=plots.COLOURS[colour], linewidth=2, label=f"{label}: {place}")
    right.set_yscale("log" if spread.errors.any() else "linear")
    right.yaxis.set_minor_locator(NullLocator())
    right.set_xlim(LENGTHS[0] - 0.5, LENGTHS[-1] + 0.5)
    if spread.errors.any():
        right.set_ylim(spread.errors[spread.errors > 0].min() / 3, 10 * spread.errors.max())
    right.set_xlabel("fraction length")
    right.set_ylabel("mean squared error (log)")
    right.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2, ncols=2, fontsize=8, frameon=False)


def _top(spread: Spread) -> float:
    return float(spread.shares.max()) or 1.0


def draw_point(point: Point, axes: Sequence[Any], *, animated: bool = False) -> list[Any]:
    """Draws the word on the axes of `draw_spread`: its bits, the binary point, what is cut and what becomes 0.

    Args:
        animated: leave the parts out when the figure is drawn; they are drawn by hand.

    Returns:
        The parts.
    """
    left, right = axes
    f, top, ways = point.fraction_length, _top(point.spread), {"animated": animated}
    lowest, highest = -f, point.spread.word_length - 2 - f  # exponents of the bits, without the sign
    red, blue, black = (plots.COLOURS[name] for name in ("vermillion", "blue", "black"))
    parts = [
        left.axvspan(highest + 0.5, 100, facecolor="none", edgecolor=red, hatch="//", lw=0, **ways),
        left.axvspan(-100, lowest - 1.5, facecolor="none", edgecolor=blue, hatch="..", lw=0, **ways),
    ]
    edges = np.arange(lowest, highest + 2) - 0.5
    parts.append(left.vlines(edges, 1.1 * top, 1.2 * top, color=black, linewidth=1.2, **ways))
    parts.append(left.hlines([1.1 * top, 1.2 * top], edges[0], edges[-1], color=black, linewidth=1.2, **ways))
    parts += left.plot([-0.5], [1.15 * top], "o", color=black, markersize=7, **ways)  # between 2^0 and 2^-1
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    for x, side, text in ((0.99, "right", f"// {100 * point.cut:.2f} % cut"), (0.01, "left", "·· becomes 0")):
        place = {"transform": left.transAxes, "ha": side, "va": "top", "fontsize": 9, "bbox": box}
        parts.append(left.text(x, 0.985, text, **place, **ways))
    if point.error > 0:
        parts += right.plot([f], [point.error], "o", color=black, markersize=8, **ways)
    return parts


def binary_point_still(
    tools: PointTools, tensors: Mapping[str, Tensor], settings: Sequence[tuple[str, int, int]]
) -> Figure:
    """The demo without controls: one row for each ``(tensor's name, word_length, fraction_length)``."""
    figure = Figure(figsize=(10, 3.2 * len(settings)), layout="constrained")
    rows = figure.subplots(len(settings), 2, squeeze=False)
    told = []
    for axes, (name, word_length, fraction_length) in zip(rows, settings, strict=True):
        spread = compute_spread(tools, name, tensors[name], word_length)
        point = compute_point(tools, spread, tensors[name], fraction_length)
        draw_spread(spread, axes)
        draw_point(point, axes)
        told.append(point.summary)
    figure.set_label(". ".join(told))  # the text alternative: see alt_text
    return figure


def binary_point_demo(
    tools: PointTools, tensors: Mapping[str, Tensor], word_length: int = 4, fraction_length: int = 2
) -> Any:
    """A choice of the tensor, a slider for the binary point and one for the word length; the pictures follow.

    All controls take the keyboard. The picture carries its numbers as text for screen readers. What the student's
    functions raise is shown in the picture's place.

    Returns:
        An ipywidgets box.
    """
    import ipywidgets as widgets

    style, layout = {"description_width": "110px"}, widgets.Layout(width="420px")
    choice = widgets.Dropdown(options=list(tensors), description="tensor", style=style, layout=layout)
    place = widgets.IntSlider(
        value=fraction_length,
        min=LENGTHS[0],
        max=LENGTHS[-1],
        description="fraction length",
        style=style,
        layout=layout,
    )
    word = widgets.IntSlider(value=word_length, min=2, max=16, description="word length", style=style, layout=layout)
    picture = widgets.HTML()
    figure = Figure(figsize=(10, 3.3), dpi=72, layout="none")
    figure.subplots_adjust(left=0.07, right=0.985, top=0.91, bottom=0.16, wspace=0.2)
    figure.subplots(1, 2)
    stage, drawn = Stage(figure), None
    known: dict[tuple[str, int], Spread] = {}  # the curve does not change with the point

    def show() -> str:
        nonlocal drawn
        name, x = choice.value, tensors[choice.value]
        if (name, word.value) not in known:
            known[name, word.value] = compute_spread(tools, name, x, word.value)
        point = compute_point(tools, known[name, word.value], x, place.value)
        if drawn is not point.spread:
            draw_spread(point.spread, stage.axes)
            stage.keep()
            drawn = point.spread
        parts = draw_point(point, stage.axes, animated=True)
        return f"<p>{point.summary}</p>{stage.image(parts, point.summary)}"

    update = live(picture, show)
    for control in (choice, place, word):
        control.observe(update, names="value")
    update()
    return widgets.VBox([choice, place, word, picture])
