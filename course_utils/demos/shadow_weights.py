"""Weights as they are trained: a histogram of the shadow weights, and of what the network sees of them.

Two pictures share one axis, the value of a weight. Above is what the optimizer moves, in float; below what the forward
pass makes of it, a few levels. A slider goes through the training, a menu through layers and methods.

`compute_weights` makes numbers of one moment of the training, `draw_frame` and `draw_weights` draw them: what stays,
and what a move of the slider changes. `shadow_weights_demo` adds controls, `shadow_weights_still` shows a few moments
side by side. The weights were recorded while the student's function ran: nothing here quantizes.

Stands on `demos` (the image in HTML), `plots`, torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from course_utils.demos.base import Stage
from course_utils.pictures import plots

__all__ = [
    "History",
    "Weights",
    "compute_weights",
    "draw_frame",
    "draw_weights",
    "shadow_weights_demo",
    "shadow_weights_still",
]

History = Sequence[tuple[int, torch.Tensor, torch.Tensor]]
"""Moments of a layer's training: the step, the shadow weights, and what the network sees, of the same shape."""

BARS = 121  # odd, so that 0 is in the middle of one


@dataclass(frozen=True)
class Weights:
    """One moment. Arrays are float64; edges and values are in the unit of the weights."""

    name: str
    step: int
    edges: np.ndarray  # of the bars, (BARS + 1,)
    shadow: np.ndarray  # percent of the weights in each bar, (BARS,)
    seen: np.ndarray  # the same of what the network sees
    levels: int  # how many different values it sees
    zeros: float  # share of the weights that it sees as 0, 0 to 1
    flipped: float  # share of the weights whose sign it sees is another one than at the first moment

    @property
    def summary(self) -> str:
        """The numbers in one line."""
        return (
            f"{self.name}, step {self.step}: the network sees {self.levels} different values, "
            f"{100 * self.zeros:.1f} % of the weights as 0; {100 * self.flipped:.1f} % have another sign than at first"
        )


def compute_weights(name: str, history: History, moment: int) -> Weights:
    """The numbers of one moment; the bars are the same for all moments of a history.

    Args:
        name: for the title.
        history: of one layer, not empty.
        moment: index into it.
    """
    largest = max(float(w.abs().max()) for _, shadow, seen in history for w in (shadow, seen)) or 1.0
    edges = np.linspace(-1.03 * largest, 1.03 * largest, BARS + 1)
    step, shadow, seen = history[moment]
    shares = [np.histogram(w.double().flatten().numpy(), edges)[0] / w.numel() * 100 for w in (shadow, seen)]
    return Weights(
        name=name,
        step=step,
        edges=edges,
        shadow=shares[0],
        seen=shares[1],
        levels=len(seen.unique()),
        zeros=float((seen == 0).double().mean()),
        flipped=float((seen.sign() != history[0][2].sign()).double().mean()),
    )


def draw_frame(weights: Weights, axes: Sequence[Any]) -> None:
    """What stays the same for all moments of a history, on two axes, one above the other, that share x."""
    top, bottom = axes
    for ax in axes:
        ax.set_xlim(weights.edges[0], weights.edges[-1])
        ax.grid(True, alpha=0.3)
    top.set_ylabel("shadow weights\n(% per bar)")
    bottom.set_ylabel("what the network\nsees (% per bar)")
    bottom.set_xlabel("value of a weight")


def draw_weights(weights: Weights, axes: Sequence[Any], **ways: Any) -> list[Any]:
    """Draws the two histograms and the title; gives the histograms back, in their axes' order.

    Args:
        ways: for matplotlib.
    """
    axes[0].set_title(f"{weights.name}, step {weights.step}", **ways)
    return [
        ax.stairs(shares, weights.edges, fill=True, color=plots.COLOURS[colour], **ways)
        for ax, shares, colour in zip(axes, (weights.shadow, weights.seen), ("sky", "vermillion"), strict=True)
    ]


def shadow_weights_still(histories: Mapping[str, History], moments: Sequence[int] = (0, -1)) -> Figure:
    """The demo without controls: a column for each history and moment.

    Args:
        histories: name -> moments of a layer's training.
        moments: which of them, as indices.
    """
    columns = [(name, history, moment) for name, history in histories.items() for moment in moments]
    figure = Figure(figsize=(3.6 * len(columns), 4.2), layout="constrained")
    grid = figure.subplots(2, len(columns), sharex="col", squeeze=False)
    told = []
    for column, (name, history, moment) in enumerate(columns):
        weights = compute_weights(name, history, moment)
        draw_frame(weights, grid[:, column])
        draw_weights(weights, grid[:, column])
        told.append(weights.summary)
        if column:
            for ax in grid[:, column]:
                ax.set_ylabel("")
    figure.set_label(". ".join(told))  # the text alternative: see alt_text
    return figure


class _Film:
    """The moments of one history, on a frame that is drawn once."""

    def __init__(self, name: str, history: History):
        self.moments = [compute_weights(name, history, moment) for moment in range(len(history))]
        figure = Figure(figsize=(7.2, 4.2), dpi=80, layout="none")
        figure.subplots_adjust(left=0.14, right=0.98, top=0.93, bottom=0.12, hspace=0.14)
        axes = figure.subplots(2, 1, sharex=True)
        draw_frame(self.moments[0], axes)
        for ax, shares in zip(axes, ("shadow", "seen"), strict=True):
            ax.set_ylim(0, 1.05 * max(getattr(weights, shares).max() for weights in self.moments))
        self.stage = Stage(figure)
        self.stage.keep()

    def image(self, moment: int) -> str:
        """The pictures of this moment, as HTML with a text alternative."""
        weights, axes = self.moments[moment], self.stage.axes
        parts = draw_weights(weights, axes, animated=True)
        return f"<p>{weights.summary}</p>{self.stage.image(parts, weights.summary, stay=[axes[0].title])}"


def shadow_weights_demo(histories: Mapping[str, History]) -> Any:
    """A menu for the layer and method and a slider through its training; the pictures follow.

    The controls take the keyboard. The picture carries its numbers as text for screen readers.

    Args:
        histories: name -> moments of a layer's training, equally many of each.

    Returns:
        An ipywidgets box.
    """
    import ipywidgets as widgets

    wide = {"layout": widgets.Layout(width="420px"), "style": {"description_width": "80px"}}
    names = list(histories)
    which = widgets.Dropdown(options=names, description="weights", **wide)
    last = min(len(history) for history in histories.values()) - 1
    moment = widgets.IntSlider(value=0, min=0, max=last, description="moment", **wide)
    picture = widgets.HTML()

    films = {name: _Film(name, history) for name, history in histories.items()}

    def draw(_: Any = None) -> None:
        picture.value = films[which.value].image(moment.value)

    for control in (which, moment):
        control.observe(draw, names="value")
    draw()
    return widgets.VBox([which, moment, picture])
