"""The weights of a layer, cut and rounded: what a narrower range wins in rounding it pays in cutting.

`compute_clipping` cuts a layer's weights at m deviations, for many m, and takes them to codes and back; `draw_clipping`
shows the histogram with the borders, and the two errors as curves over m; `clipping_demo` adds the controls,
`clipping_still` does without. The three functions that do the work are handed in, the student's: see `Tools`.

Stands on `demos` (the image in HTML), `plots`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from course_utils.demos.base import drawable, image_tag, live
from course_utils.pictures import plots

__all__ = [
    "Clipping",
    "Tools",
    "clipping_demo",
    "clipping_still",
    "compute_clipping",
    "compute_errors",
    "draw_clipping",
]

WIDTHS = np.arange(1, 33) / 4
"""The m of the curves: 0.25 to 8 deviations."""

MOST_LINES = 32  # more codes than that are not drawn one by one


@dataclass(frozen=True)
class Tools:
    """What the demo shows."""

    remove_outliers: Callable[[Tensor, float], Tensor]
    integer_scale: Callable[[float, int], Any]
    to_integers: Callable[[Tensor, Any, int], Tensor]


@dataclass(frozen=True)
class Clipping:
    """One layer at one m and number of bits. Errors are mean squares over all weights, in the weights' unit squared."""

    name: str
    m: float
    num_bits: int
    counts: np.ndarray  # of the histogram of the uncut weights
    edges: np.ndarray
    low: float  # the smallest weight after the cut
    high: float
    step: float  # between neighbouring codes
    clipped: float  # share of the weights that the cut changes, 0 to 1
    rounding: np.ndarray  # for each of WIDTHS
    clipping: np.ndarray

    @property
    def at(self) -> int:
        """The place of m in WIDTHS."""
        return int(np.abs(WIDTHS - self.m).argmin())

    @property
    def best(self) -> float:
        """The m with the least sum of both errors."""
        return float(WIDTHS[(self.rounding + self.clipping).argmin()])

    @property
    def summary(self) -> str:
        """The numbers in one line."""
        return (
            f"{self.name}, {self.num_bits} bits, m = {self.m:g} · step {self.step:.3g} · "
            f"{100 * self.clipped:.2f} % of the weights are cut · rounding error {self.rounding[self.at]:.2g} · "
            f"clipping error {self.clipping[self.at]:.2g} · least sum at m = {self.best:g}"
        )


def cut_and_rounded(tools: Tools, values: Tensor, m: float, num_bits: int) -> tuple[Tensor, float, float, float]:
    """What the cut leaves; the scale of its codes; rounding error and clipping error, mean squares.

    Raises:
        ValueError: if what the tools return cannot be drawn.
    """
    cut = drawable(tools.remove_outliers(values, m), values.shape, tools.remove_outliers)
    q = float(tools.integer_scale(float(cut.abs().max()), num_bits))
    if not 0 < q < math.inf:
        raise ValueError(f"the scale for a largest magnitude of {float(cut.abs().max()):.3g} is {q:g}, not above 0")
    back = drawable(tools.to_integers(cut, q, num_bits), values.shape, tools.to_integers).double() / q
    return cut, q, float((back - cut).square().mean()), float((cut - values).double().square().mean())


def compute_errors(tools: Tools, weight: Tensor, num_bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Rounding error and clipping error for all `WIDTHS`."""
    values = weight.detach().flatten()
    errors = [cut_and_rounded(tools, values, float(width), num_bits)[2:] for width in WIDTHS]
    rounding, clipping = np.array(errors).T
    return rounding, clipping


def compute_clipping(
    tools: Tools,
    name: str,
    weight: Tensor,
    m: float,
    num_bits: int,
    errors: tuple[np.ndarray, np.ndarray] | None = None,
) -> Clipping:
    """Cuts and rounds a weight at one m, and for the curves at all `WIDTHS`.

    Args:
        tools: the functions to show; what they raise passes through.
        name: of the layer.
        weight: float32.
        m: one of `WIDTHS`.
        num_bits: 2 to 16.
        errors: what `compute_errors` gives, if it is known.
    """
    values = weight.detach().flatten()
    cut, q, _, _ = cut_and_rounded(tools, values, m, num_bits)
    low, high, clipped = float(cut.min()), float(cut.max()), float((cut != values).double().mean())
    counts, edges = np.histogram(values.numpy(), bins=101)
    rounding, clipping = errors or compute_errors(tools, weight, num_bits)
    return Clipping(name, m, num_bits, counts, edges, low, high, 1 / q, clipped, rounding, clipping)


def draw_clipping(clipping: Clipping, axes: Sequence[Any]) -> None:
    """Draws on two axes: the histogram with borders and codes, and the errors over m."""
    left, right = axes
    for ax in axes:  # drawn on before: a control moved
        for artist in [*ax.lines, *ax.patches, *ax.collections]:
            artist.remove()
    left.stairs(clipping.counts, clipping.edges, fill=True, color=plots.COLOURS["sky"], alpha=0.7, label="weights")
    top = 2 * clipping.counts.max()
    codes = np.arange(-(2 ** (clipping.num_bits - 1)), 2 ** (clipping.num_bits - 1)) * clipping.step
    codes = codes[(codes >= clipping.low - clipping.step / 2) & (codes <= clipping.high + clipping.step / 2)]
    if len(codes) <= MOST_LINES:
        left.vlines(codes, 0.5, top, color="0.55", linewidth=0.7, label="codes")
    left.vlines(
        [clipping.low, clipping.high],
        0.5,
        top,
        color=plots.COLOURS["vermillion"],
        linewidth=2,
        label="range after the cut",
    )
    for ax in axes:
        if ax.get_yscale() != "log":  # setting it makes all ticks anew
            ax.set_yscale("log")
            ax.minorticks_off()
    left.set_ylim(0.5, top)
    left.set_xlim(clipping.edges[0], clipping.edges[-1])
    left.set_xlabel("weight")
    left.set_ylabel("weights in a bin (log)")
    left.set_title(f"{clipping.name}: {100 * clipping.clipped:.2f} % cut", y=1)
    # on white: lines pass under it
    left.legend(loc="upper right", fontsize=8, frameon=True, framealpha=0.9, edgecolor="none")
    curves = (
        (clipping.rounding, "blue", "--", "rounding error"),
        (clipping.clipping, "vermillion", "-.", "clipping error"),
        (clipping.rounding + clipping.clipping, "black", "-", "sum"),
    )
    for curve, colour, line, label in curves:
        right.plot(WIDTHS, np.where(curve > 0, curve, np.nan), line, color=plots.COLOURS[colour], label=label)
        if curve[clipping.at] > 0:
            right.plot([clipping.m], [curve[clipping.at]], "o", color=plots.COLOURS[colour])
    right.axvline(clipping.m, color="0.5", linestyle=":", linewidth=1)
    total = clipping.rounding + clipping.clipping
    right.set_ylim(total.min() / 30, 2 * total.max())
    right.set_xlabel("m (deviations)")
    right.set_ylabel("mean squared error (log)")
    right.set_title(f"{clipping.num_bits} bits: least sum at m = {clipping.best:g}", y=1)
    right.legend(loc="upper right", fontsize=8)


def clipping_still(tools: Tools, weights: Mapping[str, Tensor], settings: Sequence[tuple[str, float, int]]) -> Figure:
    """The demo without controls: one row for each ``(layer name, m, num_bits)``."""
    figure = Figure(figsize=(10, 3.2 * len(settings)), layout="constrained")
    rows = figure.subplots(len(settings), 2, squeeze=False)
    computed = [compute_clipping(tools, name, weights[name], m, num_bits) for name, m, num_bits in settings]
    for axes, clipping in zip(rows, computed, strict=True):
        draw_clipping(clipping, axes)
    figure.set_label(". ".join(clipping.summary for clipping in computed))  # the text alternative: see alt_text
    return figure


def clipping_demo(tools: Tools, weights: Mapping[str, Tensor], m: float = 4.0, num_bits: int = 4) -> Any:
    """A choice of the layer, sliders for m and the bits; the pictures follow.

    All controls take the keyboard. The picture carries its numbers as text for screen readers. What the student's
    functions raise is shown in the picture's place.

    Returns:
        An ipywidgets box.
    """
    import ipywidgets as widgets

    style, layout = {"description_width": "60px"}, widgets.Layout(width="340px")
    choice = widgets.Dropdown(options=list(weights), description="layer", style=style)
    width = widgets.FloatSlider(
        value=m, min=WIDTHS[0], max=WIDTHS[-1], step=0.25, description="m", style=style, layout=layout
    )
    bits = widgets.IntSlider(value=num_bits, min=2, max=8, description="num_bits", style=style, layout=layout)
    picture = widgets.HTML()
    figure = Figure(figsize=(10, 3.3), dpi=72, layout="none")
    figure.subplots_adjust(left=0.075, right=0.985, top=0.91, bottom=0.16, wspace=0.22)
    axes = figure.subplots(1, 2)
    known: dict[tuple[str, int], tuple[np.ndarray, np.ndarray]] = {}  # the curves do not change with m

    def show() -> str:
        name, weight = choice.value, weights[choice.value]
        if (name, bits.value) not in known:
            known[name, bits.value] = compute_errors(tools, weight, bits.value)
        clipping = compute_clipping(tools, name, weight, width.value, bits.value, known[name, bits.value])
        draw_clipping(clipping, axes)
        return f"<p>{clipping.summary}</p>{image_tag(figure, clipping.summary)}"

    update = live(picture, show)
    for control in (choice, width, bits):
        control.observe(update, names="value")
    update()
    return widgets.VBox([choice, width, bits, picture])
