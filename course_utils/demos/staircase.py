"""A demo: sliders for range and bits; the staircase map, its error and the histogram of values follow.

Stands on `plots`, `base`, torch, matplotlib and ipywidgets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from course_utils.demos.base import drawable, image_tag, live
from course_utils.pictures import plots

__all__ = ["Staircase", "compute_staircase", "draw_staircase", "staircase_demo", "staircase_still"]

LEGENDS = ("upper left", "upper right", "upper right")  # where the map, the error and the histogram leave room

Quantize = Callable[..., tuple[torch.Tensor, float, int]]
Dequantize = Callable[[torch.Tensor, float, int], torch.Tensor]


@dataclass(frozen=True)
class Staircase:
    """A quantizer seen from three sides. Arrays are float64; values and errors are in the unit of x."""

    num_bits: int
    min_val: float
    max_val: float
    scalefactor: float
    zeropoint: int
    grid: np.ndarray  # x, evenly spaced over what the picture shows
    stairs: np.ndarray  # dequantized value at every x of the grid
    values: np.ndarray  # the data
    dequantized: np.ndarray  # the data, quantized and dequantized
    saturated: float  # share of the data outside [min_val, max_val], 0 to 1
    sqnr_db: float  # of the data

    @property
    def summary(self) -> str:
        """The numbers in one line."""
        return (
            f"scalefactor {self.scalefactor:.4g} · zeropoint {self.zeropoint} · "
            f"{100 * self.saturated:.1f} % of the values saturate · SQNR {self.sqnr_db:.1f} dB"
        )


def compute_staircase(
    quantize: Quantize,
    dequantize: Dequantize,
    values: torch.Tensor,
    min_val: float,
    max_val: float,
    num_bits: int,
    *,
    shown: tuple[float, float] | None = None,
    points: int = 1201,
) -> Staircase:
    """What a quantizer does to a ramp and to data.

    Args:
        quantize: ``quantize(x, min_val, max_val, num_bits) -> (q, scalefactor, zeropoint)``.
        dequantize: ``dequantize(q, scalefactor, zeropoint) -> x``.
        values: the data, any shape, float32.
        min_val, max_val, num_bits: handed to ``quantize``.
        shown: the stretch of x that the ramp covers; a little more than the data's range if None.
        points: of the ramp.

    Returns:
        The numbers to draw. Whatever ``quantize`` raises passes through.

    Raises:
        ValueError: if what ``quantize`` and ``dequantize`` return cannot be drawn.
    """
    values = values.detach().flatten().float()
    if shown is None:
        margin = 0.1 * float(values.max() - values.min())
        shown = float(values.min()) - margin, float(values.max()) + margin
    grid = torch.linspace(*shown, points)
    q, scalefactor, zeropoint = quantize(torch.cat([grid, values]), min_val, max_val, num_bits)
    if not 0 < float(scalefactor) < math.inf:
        raise ValueError(f"the scalefactor is {float(scalefactor):g}, not a finite number above 0")
    both = drawable(dequantize(q, scalefactor, zeropoint), (points + len(values),), dequantize).double().numpy()
    signal = values.double().numpy()
    stairs, dequantized = both[:points], both[points:]
    noise = float(np.mean((dequantized - signal) ** 2))
    return Staircase(
        num_bits=num_bits,
        min_val=min_val,
        max_val=max_val,
        scalefactor=float(scalefactor),
        zeropoint=int(zeropoint),
        grid=grid.double().numpy(),
        stairs=stairs,
        values=signal,
        dequantized=dequantized,
        saturated=float(np.mean((signal < min(min_val, 0)) | (signal > max(max_val, 0)))),
        sqnr_db=10 * math.log10(float(np.mean(signal**2)) / noise) if noise > 0 else math.inf,
    )


def draw_staircase(staircase: Staircase, axes: Sequence[Any]) -> None:
    """Draws the map, its error and the histogram on three axes, one below the other, that share x."""
    s, (top, middle, bottom) = staircase, axes
    for ax in axes:  # drawn on before: a slider moved. Emptying them is three times as fast as making new ones
        for artist in [*ax.lines, *ax.collections, *ax.patches]:
            artist.remove()
        ax.relim()
    top.plot(s.grid, s.grid, color="0.6", linewidth=1, linestyle="--", label="no quantization")
    top.plot(s.grid, s.stairs, color=plots.COLOURS["blue"], label="quantized, dequantized")
    top.set_ylabel("dequantized")
    top.set_title(f"{s.num_bits} bits, range [{s.min_val:g}, {s.max_val:g}]")
    plots.error_band(middle, s.grid, s.stairs - s.grid, s.scalefactor)
    plots.grid_histogram(bottom, s.values, s.dequantized, np.linspace(s.grid[0], s.grid[-1], 61), step=s.scalefactor)
    for ax in (top, middle, bottom):
        for edge in (min(s.min_val, 0), max(s.max_val, 0)):
            ax.axvline(edge, color=plots.COLOURS["black"], linewidth=0.9, linestyle=":")
        ax.set_xlim(s.grid[0], s.grid[-1])
        ax.grid(True, alpha=0.3)
    # the error outside the range would squeeze the band into a line, so the picture stops at two steps
    limit = min(2 * s.scalefactor, 1.1 * max(float(np.abs(s.stairs - s.grid).max()), s.scalefactor))
    middle.set_ylim(-limit, limit)
    top.set_xlabel("")
    middle.set_xlabel("")


def staircase_still(
    quantize: Quantize,
    dequantize: Dequantize,
    values: torch.Tensor,
    settings: Sequence[tuple[float, float, int]] = ((-3, 6, 3), (-3, 6, 5), (-1, 2, 3)),
    *,
    shown: tuple[float, float] | None = None,
) -> Figure:
    """The demo without sliders: one column for each ``(min_val, max_val, num_bits)``."""
    figure = Figure(figsize=(4.2 * len(settings), 7.2), layout="constrained")
    grid = figure.subplots(3, len(settings), sharex="col", sharey="row", squeeze=False)
    told = []
    for column, (min_val, max_val, num_bits) in enumerate(settings):
        data = compute_staircase(quantize, dequantize, values, min_val, max_val, num_bits, shown=shown)
        draw_staircase(data, grid[:, column])
        told.append(f"{num_bits} bits, range [{min_val:g}, {max_val:g}]: {data.summary}")
        first, _, last = data.summary.rpartition(" · ")
        grid[2, column].set_title(f"{first.rpartition(' · ')[2]}, {last}", fontsize=9)
    for ax, corner in zip(grid[:, 0], LEGENDS, strict=True):
        ax.legend(loc=corner)
    figure.set_label(". ".join(told))  # the text alternative: see alt_text
    return figure


def staircase_demo(
    quantize: Quantize,
    dequantize: Dequantize,
    values: torch.Tensor,
    min_val: float = -3.0,
    max_val: float = 6.0,
    num_bits: int = 3,
    *,
    shown: tuple[float, float] | None = None,
) -> Any:
    """Sliders for min, max and bits; the staircase, the error and the histogram follow.

    The sliders take the keyboard's arrow keys. The picture carries its numbers as text for screen readers. What the
    student's functions raise is shown in the picture's place.

    Returns:
        An ipywidgets box.
    """
    import ipywidgets as widgets

    size = float(max(-values.min(), values.max(), abs(min_val), abs(max_val)))
    end, step = math.ceil(1.3 * size), size / 60
    step = float(f"{step:.1g}")
    wide = {"layout": widgets.Layout(width="340px"), "style": {"description_width": "60px"}, "readout_format": ".2f"}
    sliders = {
        "min_val": widgets.FloatSlider(value=min_val, min=-end, max=0, step=step, description="min_val", **wide),
        "max_val": widgets.FloatSlider(value=max_val, min=0, max=end, step=step, description="max_val", **wide),
        "num_bits": widgets.IntSlider(
            value=num_bits, min=1, max=8, description="num_bits", **wide | {"readout_format": "d"}
        ),
    }
    picture = widgets.HTML()
    figure = Figure(figsize=(7.2, 6.4), dpi=80, layout="none")
    figure.subplots_adjust(left=0.11, right=0.98, top=0.95, bottom=0.08, hspace=0.12)
    axes = figure.subplots(3, 1, sharex=True)

    def make() -> str:
        data = compute_staircase(
            quantize, dequantize, values, **{name: s.value for name, s in sliders.items()}, shown=shown
        )
        draw_staircase(data, axes)
        for ax, corner in zip(axes, LEGENDS, strict=True):
            if ax.get_legend() is None:
                ax.legend(loc=corner, fontsize=8)
        return f"<p>{data.summary}</p>{image_tag(figure, data.summary)}"

    update = live(picture, make)
    for slider in sliders.values():
        slider.observe(update, names="value")
    update()
    return widgets.VBox([*sliders.values(), picture])
