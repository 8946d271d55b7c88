"""Where to cut a layer's values: their histogram with a threshold to move, and what two measures say about it.

Three pictures share one axis, the magnitude of a layer's values: how many there are; the divergence that entropy
calibration minimizes, for every threshold; the mean squared error of quantizing to a range that ends there. A line at
the threshold moves through all three. Thresholds that are handed in, the student's choices, are marked.

`compute_curves` does what depends on the layer and the bits, `compute_threshold` what depends on the threshold too;
`draw_curves` and `draw_threshold` put them on axes. `threshold_demo` adds controls, `threshold_still` does without. In
the demo only the line is drawn anew when it moves, over a copy of everything else; another layer or another number of
bits is drawn on the axes that are there, because making new ones takes longer than drawing.

Stands on `observers` (the curves), `demos` (the image in HTML), `plots`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from course_utils.demos.base import Stage
from course_utils.pictures import plots
from course_utils.quantization.observers import Histogram, entropy_curve, mse_curve

__all__ = [
    "Curves",
    "Threshold",
    "compute_curves",
    "compute_threshold",
    "draw_curves",
    "draw_threshold",
    "threshold_demo",
    "threshold_still",
]

Marks = Mapping[str, Mapping[str, float]]
"""Layer -> name of a method -> the threshold that it chose."""

COLUMNS = 160  # bars drawn: more cannot be told apart at notebook width
POINTS = 120  # thresholds at which the mean squared error is calculated


@dataclass(frozen=True)
class Curves:
    """A layer and a number of bits. Arrays are float64; thresholds and edges are in the unit of the layer's values."""

    layer: str
    num_bits: int
    histogram: Histogram  # of the values, with sign
    magnitudes: Histogram
    edges: np.ndarray  # of the bars drawn, (C + 1,)
    shares: np.ndarray  # of all values in each bar, percent, (C,)
    kl_thresholds: np.ndarray
    kl: np.ndarray  # divergence in nats; infinite where it is
    mse_thresholds: np.ndarray
    mse: np.ndarray


@dataclass(frozen=True)
class Threshold:
    """One threshold: what it cuts off and what it costs."""

    value: float
    clipped: float  # share of the values beyond it, 0 to 1
    step: float  # between neighbouring codes
    kl: float | None  # None below the first threshold that entropy calibration tries
    mse: float

    @property
    def summary(self) -> str:
        """The numbers in one line."""
        kl = "no divergence (fewer bins than levels)" if self.kl is None else f"KL divergence {self.kl:.4f} nats"
        return (
            f"threshold {self.value:.3f} · step {self.step:.4g} · {100 * self.clipped:.2f} % of the values are cut · "
            f"{kl} · mean squared error {self.mse:.3g}"
        )


def compute_curves(layer: str, histogram: Histogram, num_bits: int) -> Curves:
    """Everything that does not depend on the threshold.

    Args:
        layer: its name, for the title.
        histogram: of the layer's values, as `Histogram.of` makes it.
        num_bits: 2..16.
    """
    magnitudes = histogram.magnitudes()
    per_bar = -(-len(magnitudes.counts) // COLUMNS)
    starts = np.arange(0, len(magnitudes.counts), per_bar)
    kl_thresholds, kl = entropy_curve(magnitudes, num_bits)
    mse_thresholds = magnitudes.edges[-1] * np.arange(1, POINTS + 1) / POINTS
    return Curves(
        layer=layer,
        num_bits=num_bits,
        histogram=histogram,
        magnitudes=magnitudes,
        edges=np.append(magnitudes.edges[starts], magnitudes.edges[-1]),
        shares=100 * np.add.reduceat(magnitudes.counts, starts) / magnitudes.total,
        kl_thresholds=kl_thresholds,
        kl=kl,
        mse_thresholds=mse_thresholds,
        mse=mse_curve(histogram, num_bits, *_range(histogram, mse_thresholds)),
    )


def compute_threshold(curves: Curves, threshold: float) -> Threshold:
    """The numbers of one threshold, greater than 0."""
    low, high = _range(curves.histogram, threshold)
    beyond = curves.magnitudes.edges[:-1] >= threshold
    at = np.searchsorted(curves.kl_thresholds, threshold)
    at = min(int(at), len(curves.kl) - 1)
    known = threshold >= curves.kl_thresholds[0]
    return Threshold(
        value=float(threshold),
        clipped=float(curves.magnitudes.counts[beyond].sum() / curves.magnitudes.total),
        step=float((high - low) / (2**curves.num_bits - 1)),
        kl=float(curves.kl[at]) if known else None,
        mse=float(mse_curve(curves.histogram, curves.num_bits, low, high)[0]),
    )


def _range(histogram: Histogram, threshold: Any) -> tuple[Any, Any]:
    """The range that a threshold stands for: both signs, or the one there is."""
    return (-threshold if histogram.min < 0 else 0.0 * threshold), (threshold if histogram.max > 0 else 0.0 * threshold)


def draw_curves(curves: Curves, axes: Sequence[Any], marks: Mapping[str, float] | None = None) -> None:
    """Draws histogram, divergence and mean squared error on three axes, one below the other, that share x.

    Args:
        marks: thresholds that some methods chose, by the method's name.
    """
    top, middle, bottom = axes
    for ax in axes:  # drawn on before: another layer or number of bits was chosen
        for artist in [*ax.lines, *ax.patches]:
            artist.remove()
        ax.relim()
    if top.get_legend():
        top.get_legend().remove()
    top.stairs(curves.shares, curves.edges, fill=True, color=plots.COLOURS["sky"], alpha=0.8)
    top.set_ylabel("share of values\n(%, log)")
    top.set_title(f"input of {curves.layer}, {curves.num_bits} bits")
    finite = np.where(np.isfinite(curves.kl), curves.kl, np.nan)  # a line is interrupted at NaN
    middle.plot(curves.kl_thresholds, finite, color=plots.COLOURS["blue"])
    middle.set_ylabel("KL divergence\n(nats)")
    bottom.plot(curves.mse_thresholds, curves.mse, color=plots.COLOURS["green"])
    bottom.set_ylabel("mean squared\nerror (log)")
    bottom.set_xlabel("threshold on the magnitude of the values")
    bottom.set_yscale("linear")
    for ax in (top, bottom) if curves.mse.any() else (top,):  # of zeros alone there is no error, and no logarithm
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(numticks=5))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter("{x:g}")  # powers of ten in mathtext take longer than all the rest
    colours = [plots.COLOURS[c] for c in ("vermillion", "purple", "orange", "blue")]
    for number, (name, choice) in enumerate((marks or {}).items()):
        for ax in axes:
            label = f"{name}: {choice:.2f}" if ax is top else None
            style = ("--", ":", "-.")[number % 3]
            ax.axvline(choice, color=colours[number % 4], linestyle=style, linewidth=2, label=label)
    if marks:
        top.legend(loc="upper right", fontsize=8, frameon=True, framealpha=0.85, edgecolor="none")
    for ax in axes:
        ax.set_xlim(0, curves.edges[-1] * 1.01)
        ax.grid(True, alpha=0.3)


def draw_threshold(curves: Curves, threshold: Threshold, axes: Sequence[Any], *, animated: bool = False) -> list[Any]:
    """Draws a threshold on the axes of `draw_curves`: a line through all, a dot on each curve, a veil over what is cut.

    Args:
        animated: leave the parts out when the figure is drawn; they are drawn by hand.

    Returns:
        The parts.
    """
    colour, ways = plots.COLOURS["black"], {"animated": animated}
    parts = [ax.axvline(threshold.value, color=colour, linewidth=1.4, **ways) for ax in axes]
    right = max(axes[0].get_xlim()[1], threshold.value)
    parts.append(axes[0].axvspan(threshold.value, right, color=plots.COLOURS["vermillion"], alpha=0.25, lw=0, **ways))
    for ax, height in ((axes[1], threshold.kl), (axes[2], threshold.mse)):
        if height is not None and np.isfinite(height):
            parts += ax.plot(threshold.value, height, "o", color=colour, zorder=4, **ways)
    return parts


def threshold_still(
    layers: Mapping[str, Histogram],
    marks: Marks | None = None,
    *,
    num_bits: int = 8,
    thresholds: Mapping[str, float] | None = None,
) -> Figure:
    """The demo without controls: a column for each layer.

    Args:
        layers: name -> histogram of its values.
        marks: thresholds that some methods chose for ``num_bits``.
        thresholds: of some layers; of the others, where the mean squared error is least.
    """
    figure = Figure(figsize=(4.6 * len(layers), 6.6), layout="constrained")
    grid = figure.subplots(3, len(layers), sharex="col", squeeze=False)
    told = []
    for column, (name, histogram) in enumerate(layers.items()):
        curves = compute_curves(name, histogram, num_bits)
        best = float(curves.mse_thresholds[curves.mse.argmin()])
        threshold = compute_threshold(curves, (thresholds or {}).get(name, best))
        draw_curves(curves, grid[:, column], (marks or {}).get(name))
        draw_threshold(curves, threshold, grid[:, column])
        told.append(f"input of {name}, {num_bits} bits: {threshold.summary}")
        if column:
            for ax in grid[:, column]:
                ax.set_ylabel("")
    figure.set_label(". ".join(told))  # the text alternative: see alt_text
    return figure


def threshold_demo(layers: Mapping[str, Histogram], marks: Marks | None = None, *, num_bits: int = 8) -> Any:
    """A menu for the layer, a slider for the bits and one for the threshold; the pictures follow.

    The controls take the keyboard. The picture carries its numbers as text for screen readers.

    Args:
        layers: name -> histogram of its values.
        marks: thresholds that some methods chose for ``num_bits``; they are shown while the slider stands there.

    Returns:
        An ipywidgets box.
    """
    import ipywidgets as widgets

    wide = {"layout": widgets.Layout(width="420px"), "style": {"description_width": "80px"}}
    layer = widgets.Dropdown(options=list(layers), description="layer", **wide)
    bits = widgets.IntSlider(value=num_bits, min=2, max=8, description="bits", **wide)
    share = widgets.FloatSlider(value=60, min=1, max=100, step=1, description="threshold", readout_format=".0f", **wide)
    unit = widgets.Label("% of the largest magnitude")
    picture = widgets.HTML()
    figure = Figure(figsize=(7.2, 5.6), dpi=80, layout="none")
    figure.subplots_adjust(left=0.16, right=0.98, top=0.94, bottom=0.09, hspace=0.12)
    figure.subplots(3, 1, sharex=True)
    stage = Stage(figure)
    curves: Curves

    def draw(_: Any = None) -> None:
        nonlocal curves
        curves = compute_curves(layer.value, layers[layer.value], bits.value)
        draw_curves(curves, stage.axes, (marks or {}).get(layer.value) if bits.value == num_bits else None)
        stage.keep()
        move()

    def move(_: Any = None) -> None:
        threshold = compute_threshold(curves, share.value / 100 * float(curves.edges[-1]))
        parts = draw_threshold(curves, threshold, stage.axes, animated=True)
        picture.value = f"<p>{threshold.summary}</p>{stage.image(parts, threshold.summary)}"

    for control, follow in ((layer, draw), (bits, draw), (share, move)):
        control.observe(follow, names="value")
    draw()
    return widgets.VBox([layer, bits, widgets.HBox([share, unit]), picture])
