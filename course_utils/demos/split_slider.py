"""A demo: how to split a word into exponent and mantissa, for one tensor of a network at a time.

Three pictures, one below the other. How large the tensor's numbers are, by powers of two, with the stretch that the
format covers with normal and with subnormal numbers behind them. How large the rounding error of the numbers in each
power of two is, relative to them. The signal-to-error ratio of every split, with the chosen one and the best marked.

`compute_split` turns a tensor, a word length and a number of exponent bits into numbers; `draw_tensor` and `draw_split`
put them on axes. `split_demo` has controls, `split_still` does without. They round with the function that they are
handed, the student's. In the demo only what depends on the split is drawn anew, over a copy of everything else.

Stands on `formats` (a format's ends), `demos` (the image in HTML), `plots`, torch, matplotlib and ipywidgets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from course_utils.demos.base import Stage, drawable, live
from course_utils.numerics.formats import FloatFormat
from course_utils.pictures import plots

__all__ = ["Split", "compute_split", "draw_split", "draw_tensor", "split_demo", "split_still", "splits"]

Convert = Callable[[Tensor, int, int], Tensor]
"""``convert(value, word_length, exponent_bits)``: value in a minifloat, still float32."""

SAMPLE = 20_000  # numbers of a tensor that are looked at: enough for the pictures, few enough for 100 ms
LOWEST = -40  # what is below 2^-40 is drawn there
CIRCLE = {
    "marker": "o",
    "linestyle": "none",
    "color": plots.COLOURS["vermillion"],
    "markersize": 13,
    "fillstyle": "none",
    "markeredgewidth": 2.5,
}


@dataclass(frozen=True)
class Split:
    """A tensor in one split of a word. Arrays are float64."""

    tensor: str
    word_length: int
    exponent_bits: int
    powers: np.ndarray  # of two, in which there are numbers, ascending and without gaps, (P,)
    shares: np.ndarray  # of the numbers whose size is in [2^p, 2^(p + 1)), percent of all, (P,)
    relative: np.ndarray  # root mean square error of these, divided by their root mean square, percent; NaN where none
    format: FloatFormat
    vanished: float  # share of the numbers that are not 0 but become 0, 0 to 1
    saturated: float  # share of the numbers beyond the largest value, 0 to 1
    ratios: np.ndarray  # signal-to-error ratio of every split in dB, from 1 exponent bit on; infinite without error

    @property
    def best(self) -> int:
        """The number of exponent bits with the highest ratio; of equal ones the fewest."""
        return 1 + int(self.ratios.argmax())

    @property
    def summary(self) -> str:
        """The numbers in one line."""
        return (
            f"{self.format} (1 + {self.exponent_bits} + {self.format.mantissa_bits} bits) · signal-to-error ratio "
            f"{self.ratios[self.exponent_bits - 1]:.1f} dB (best: {self.best} exponent bits, "
            f"{self.ratios.max():.1f} dB) · {100 * self.vanished:.1f} % become 0 · "
            f"{100 * self.saturated:.1f} % saturate"
        )


def splits(word_length: int) -> range:
    """The numbers of exponent bits that a word can have: at least one mantissa bit stays, 7 at most."""
    return range(1, min(7, word_length - 2) + 1)


def compute_split(tensor: str, values: Tensor, word_length: int, exponent_bits: int, convert: Convert) -> Split:
    """What a split does to a tensor.

    Args:
        tensor: its name.
        values: float32, any shape, finite, not all 0. Of more than `SAMPLE` numbers, evenly spaced ones are taken.
        word_length: 3 to 16.
        exponent_bits: one of ``splits(word_length)``.
        convert: the student's. What it raises passes through.

    Raises:
        ValueError: if what ``convert`` returns cannot be drawn.
    """
    values = values.detach().flatten().float()
    values = values[:: -(-len(values) // SAMPLE)]
    exact, size = values.double(), values.double().abs()
    signal = float(exact.square().mean())
    ratios = []
    for e in splits(word_length):
        converted = drawable(convert(values, word_length, e), values.shape, convert).double()
        noise = float((converted - exact).square().mean())
        ratios.append(10 * math.log10(signal / noise) if noise > 0 else math.inf)
        if e == exponent_bits:
            error, zeros = (converted - exact).abs(), converted == 0
    held = FloatFormat(exponent_bits, word_length - 1 - exponent_bits)

    power = torch.where(size > 0, torch.frexp(size)[1] - 1, -(10**6)).clamp(min=LOWEST)
    some = size > 0
    powers = np.arange(int(power[some].min()), int(power[some].max()) + 1)
    place = (power[some] - int(powers[0])).long()
    counts = torch.bincount(place, minlength=len(powers)).double().numpy()
    squares, errors = (
        torch.bincount(place, weights=x[some].square(), minlength=len(powers)).numpy() for x in (size, error)
    )
    return Split(
        tensor=tensor,
        word_length=word_length,
        exponent_bits=exponent_bits,
        powers=powers,
        shares=100 * counts / len(values),
        relative=100 * np.sqrt(np.divide(errors, squares, out=np.full_like(errors, np.nan), where=squares > 0)),
        format=held,
        vanished=float((some & zeros).double().mean()),
        saturated=float((size > held.largest).double().mean()),
        ratios=np.array(ratios),
    )


def draw_tensor(split: Split, axes: Sequence[Any]) -> None:
    """Draws what is the same for every split of a word on three axes: sizes, and the ratios of all splits."""
    s, (top, middle, bottom) = split, axes
    edges = np.append(s.powers, s.powers[-1] + 1)
    top.stairs(s.shares, edges, fill=True, color=plots.COLOURS["blue"], label="numbers of the tensor")
    for colour, name in (("green", "normal numbers of the format"), ("orange", "subnormal numbers")):
        top.fill([], [], color=plots.COLOURS[colour], alpha=0.25, label=name)  # for the legend alone
    top.set_ylim(0, 1.1 * float(s.shares.max()))
    top.set_title(f"{s.tensor}, {s.word_length} bits")
    top.set_ylabel("share of the\nnumbers (%)")
    middle.set_ylim(0, 105)
    middle.set_ylabel("error relative to\nthe numbers (%)")
    middle.set_xlabel("power of two")
    for ax in (top, middle):
        ax.set_xlim(float(s.powers[0]) - 1, float(s.powers[-1]) + 2)
    finite = np.isfinite(s.ratios)
    bits = np.arange(1, len(s.ratios) + 1)
    bottom.plot(bits[finite], s.ratios[finite], "o-", color=plots.COLOURS["black"], label="every split")
    if finite[s.best - 1]:
        star = {"color": plots.COLOURS["orange"], "markersize": 17, "zorder": 3}
        bottom.plot(s.best, s.ratios[s.best - 1], "*", label="the best", **star)
    bottom.plot([], [], label="this one", **CIRCLE)
    bottom.set_xlim(0.5, 7.5)
    bottom.set_xticks(range(1, 8))
    bottom.margins(y=0.15)
    bottom.set_ylabel("signal-to-error\nratio (dB)")
    bottom.set_xlabel("exponent bits")
    for ax in axes:
        ax.grid(True, alpha=0.3)
    for ax in (top, bottom):
        ax.legend(fontsize=8, loc="best", frameon=True, framealpha=0.85, edgecolor="none")


def draw_split(split: Split, axes: Sequence[Any], *, animated: bool = False) -> list[Any]:
    """Draws one split on the axes of `draw_tensor`: the stretches it covers, its errors, a circle around its ratio.

    Args:
        animated: leave the parts out when the figure is drawn; they are drawn by hand.

    Returns:
        The parts.
    """
    s, (_, middle, bottom) = split, axes
    ways = {"animated": animated}
    smallest, normal, largest = (math.log2(v) for v in (s.format.smallest, s.format.smallest_normal, s.format.largest))
    parts = []
    for ax in axes[:2]:
        veil = {"alpha": 0.25, "linewidth": 0, **ways}
        parts.append(ax.axvspan(smallest, min(normal, largest), color=plots.COLOURS["orange"], **veil))
        if largest > normal:
            parts.append(ax.axvspan(normal, largest, color=plots.COLOURS["green"], **veil))
    parts += middle.plot(s.powers + 0.5, s.relative, "o-", color=plots.COLOURS["vermillion"], markersize=4, **ways)
    ratio = s.ratios[s.exponent_bits - 1]
    if np.isfinite(ratio):
        parts += bottom.plot(s.exponent_bits, ratio, zorder=4, **CIRCLE, **ways)
    return parts


def split_still(tensors: Mapping[str, Tensor], settings: Sequence[tuple[str, int, int]], convert: Convert) -> Figure:
    """The demo without controls.

    Args:
        tensors: name -> values, see `compute_split`.
        settings: a column for each (name, word length, exponent bits).
        convert: the student's.
    """
    figure = Figure(figsize=(4.4 * len(settings), 6.6), layout="constrained")
    grid = figure.subplots(3, len(settings), squeeze=False)
    told = []
    for column, (name, word_length, exponent_bits) in enumerate(settings):
        axes = grid[:, column]
        split = compute_split(name, tensors[name], word_length, exponent_bits, convert)
        told.append(f"{name}: {split.summary}")
        draw_tensor(split, axes)
        draw_split(split, axes)
        axes[0].set_title(f"{name}, {split.format}")
        if column:
            for ax in axes:
                ax.set_ylabel("")
            for ax in (axes[0], axes[2]):
                ax.get_legend().remove()
    figure.set_label(". ".join(told))  # the text alternative: see alt_text
    return figure


def _stage(split: Split) -> Stage:
    """The pictures of one tensor and word length, on which the split changes."""
    figure = Figure(figsize=(7.2, 6.0), dpi=80, layout="none")
    figure.subplots_adjust(left=0.13, right=0.98, top=0.95, bottom=0.08, hspace=0.32)
    draw_tensor(split, figure.subplots(3, 1))
    stage = Stage(figure)
    stage.keep()
    return stage


def split_demo(tensors: Mapping[str, Tensor], convert: Convert, *, word_length: int = 8, exponent_bits: int = 3) -> Any:
    """A menu for the tensor, one for the word length, and a slider for the exponent bits; the pictures follow.

    The controls take the keyboard. The picture carries its numbers as text for screen readers. What ``convert`` raises
    is shown in the picture's place.

    Args:
        tensors: name -> values, see `compute_split`.
        convert: the student's.

    Returns:
        An ipywidgets box.
    """
    import ipywidgets as widgets

    wide = {"layout": widgets.Layout(width="420px"), "style": {"description_width": "100px"}}
    tensor = widgets.Dropdown(options=list(tensors), description="tensor", **wide)
    word = widgets.Dropdown(options=[8, 16], value=word_length, description="word length", **wide)
    bits = widgets.IntSlider(
        value=exponent_bits, min=1, max=splits(word_length)[-1], description="exponent bits", **wide
    )
    picture = widgets.HTML()
    stages: dict[tuple[str, int], Stage] = {}

    def show() -> str:
        bits.max = splits(word.value)[-1]
        split = compute_split(tensor.value, tensors[tensor.value], word.value, bits.value, convert)
        key = tensor.value, word.value
        if key not in stages:
            stages[key] = _stage(split)
        parts = draw_split(split, stages[key].axes, animated=True)
        return f"<p>{split.summary}</p>{stages[key].image(parts, split.summary)}"

    update = live(picture, show)
    for control in (tensor, word, bits):
        control.observe(update, names="value")
    update()
    return widgets.VBox([tensor, word, bits, picture])
