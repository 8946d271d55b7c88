"""Pictures that more than one cell draws: matplotlib on given axes, one colour-blind safe palette.

Each function draws on the axes it is handed, labels them with units and returns nothing, so that a notebook decides
about size and arrangement, and a test can look at what was drawn. Nothing here quantizes: codes and values come in.

Stands on `alt_text`, torch, numpy and matplotlib.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import torch
from cycler import cycler
from matplotlib.axes import Axes

from course_utils.pictures.alt_text import describe_figures

__all__ = [
    "COLOURS",
    "channel_ranges",
    "code_line",
    "curves_by_bits",
    "error_band",
    "grid_histogram",
    "use_course_style",
]

COLOURS = {
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "green": "#009E73",
    "orange": "#E69F00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "yellow": "#F0E442",
    "black": "#000000",
}
"""Okabe and Ito's palette: distinguishable with every common kind of colour blindness."""

MARKERS = ("o", "s", "^", "D", "v", "P")


def use_course_style() -> None:
    """Sets matplotlib's defaults for a lab: the palette, a light grid, sizes that read well in a notebook.

    In a notebook, pictures get a text alternative from now on, made of their titles, labels and legends.
    """
    describe_figures()
    mpl.rcParams.update(
        {
            "axes.prop_cycle": cycler(color=list(COLOURS.values())),
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "axes.labelsize": 10,
            "figure.constrained_layout.use": True,
            "figure.dpi": 100,
            "grid.alpha": 0.3,
            "grid.linewidth": 0.6,
            "legend.fontsize": 9,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "lines.markersize": 5,
        }
    )


def code_line(
    axes: Axes, values: Sequence[float], codes: Sequence[int], scalefactor: float, zeropoint: int, num_bits: int
) -> None:
    """Real numbers above, codes below, an arrow from each value to its code.

    Args:
        values: the real numbers, a handful.
        codes: the code of each, in [0, 2^num_bits - 1].
        scalefactor, zeropoint: what the codes stand for: ``scalefactor * (code - zeropoint)``.
        num_bits: at most 5, or the code line cannot be read.
    """
    all_codes = np.arange(2**num_bits)
    grid = scalefactor * (all_codes - zeropoint)
    low, high = min(grid[0], min(values)), max(grid[-1], max(values))
    margin = 0.06 * (high - low)
    for height, colour in ((1.0, COLOURS["blue"]), (0.0, COLOURS["vermillion"])):
        axes.plot([low - margin, high + margin], [height, height], color=colour, linewidth=1.2)
    axes.plot(values, np.ones(len(values)), "o", color=COLOURS["blue"], zorder=3)
    axes.plot(grid, np.zeros(len(grid)), "|", color=COLOURS["vermillion"], markersize=14, markeredgewidth=2)
    for value, code in zip(values, codes, strict=True):
        axes.annotate(
            "",
            xy=(scalefactor * (code - zeropoint), 0.06),
            xytext=(value, 0.95),
            arrowprops={"arrowstyle": "->", "color": "0.35", "linewidth": 1.1},
        )
        axes.text(value, 1.1, f"{value:g}", ha="center", va="bottom", color=COLOURS["blue"])
    for code, position in zip(all_codes, grid, strict=True):
        weight = "bold" if code == zeropoint else "normal"
        axes.text(position, -0.13, f"{code}", ha="center", va="top", color=COLOURS["vermillion"], fontweight=weight)
        axes.text(position, -0.36, f"{position:.2f}", ha="center", va="top", color="0.35", fontsize=8)
    axes.text(scalefactor * 0, -0.58, "zero point", ha="center", va="top", fontweight="bold", fontsize=9)
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(-0.8, 1.4)
    axes.set_yticks([1, 0], ["real value x", "code q\n(its value below)"])
    axes.set_xticks([])
    axes.grid(False)
    for side in axes.spines.values():
        side.set_visible(False)


def error_band(axes: Axes, x: np.ndarray, error: np.ndarray, scalefactor: float) -> None:
    """The rounding error along x, with the band of half a step that theory allows.

    Args:
        x, error: of one length, in the same unit.
        scalefactor: the step.
    """
    half = scalefactor / 2
    axes.axhspan(-half, half, color=COLOURS["sky"], alpha=0.25, label="± half a step")
    axes.plot(x, error, color=COLOURS["vermillion"], linewidth=1.2, label="error")
    axes.set_xlabel("x")
    axes.set_ylabel("dequantized - x")


def grid_histogram(axes: Axes, values: np.ndarray, dequantized: np.ndarray, bins: np.ndarray, *, step: float) -> None:
    """Where the values lie, and on which grid points quantization puts them.

    Args:
        values, dequantized: of one shape.
        bins: edges of the histogram of the values. The grid points' shares are shown as stems of their own.
        step: of the grid. Both heights are shares for the width of one step: those of bins and of codes would have
            different units.
    """
    counts, _ = np.histogram(values, bins=bins)
    heights = 100 * counts / max(np.size(values), 1) * step / np.diff(bins)
    axes.stairs(heights, bins, fill=True, color=COLOURS["sky"], alpha=0.6, label="values")
    points, counts = np.unique(np.ravel(dequantized), return_counts=True)
    shares = 100 * counts / max(np.size(dequantized), 1)
    axes.vlines(points, 0, shares, color=COLOURS["vermillion"], linewidth=1.5, label="after quantization")
    axes.plot(points, shares, "o", color=COLOURS["vermillion"], markersize=3)
    axes.set_xlabel("x")
    axes.set_ylabel("values (% a step)")


def channel_ranges(axes: Axes, weight: torch.Tensor, *, axis: int = 0) -> None:
    """One bar per channel from its smallest to its largest weight, and the range of the whole tensor behind them."""
    rows = weight.detach().movedim(axis, 0).flatten(1)
    low, high = rows.amin(1).numpy(), rows.amax(1).numpy()
    axes.axhspan(
        low.min(), high.max(), color=COLOURS["sky"], alpha=0.25, label="range of the whole tensor", linewidth=0
    )
    axes.bar(
        np.arange(len(rows)), high - low, bottom=low, color=COLOURS["blue"], width=0.6, label="range of one channel"
    )
    axes.axhline(0, color=COLOURS["black"], linewidth=0.8)
    axes.use_sticky_edges = False  # bars and bands would cling to the frame
    axes.margins(x=0.02, y=0.06)
    axes.autoscale_view()
    axes.set_xlabel("output channel")
    axes.set_ylabel("weight")
    axes.grid(False, axis="x")


def curves_by_bits(
    axes: Axes, bits: Sequence[int], curves: Mapping[str, Sequence[float]], *, ylabel: str = "SQNR (dB)"
) -> None:
    """One line per name over the number of bits; names differ by colour and by marker."""
    colours = list(COLOURS.values())
    for number, (name, heights) in enumerate(curves.items()):
        axes.plot(
            list(bits),
            list(heights),
            marker=MARKERS[number % len(MARKERS)],
            color=colours[number % len(colours)],
            label=name,
        )
    axes.set_xticks(list(bits))
    axes.set_xlabel("bits per value")
    axes.set_ylabel(ylabel)
