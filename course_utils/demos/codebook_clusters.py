"""Clusters of a layer's weights: the centroids move, round by round, over the histogram of the weights.

Above is the histogram, with the first centroids as triangles and where they are after some rounds as lines; below the
within-cluster sum of squares after each round. Menus choose the layer and where the centroids begin, sliders their
number (in bits of a code) and the round.

`compute_clusters` makes the numbers, `draw_clusters` draws them; `codebook_demo` adds controls, `codebook_still` shows
a few settings side by side. First centroids and rounds come from the student's functions.

Stands on `demos` (the image in HTML), `plots`, torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from course_utils.demos.base import drawable, image_tag, live
from course_utils.pictures import plots

__all__ = ["Clusters", "codebook_demo", "codebook_still", "compute_clusters", "draw_clusters"]

First = Callable[[torch.Tensor, int, str], torch.Tensor]
"""From weights (N,), how many, and the initialisation: first centroids (count,), increasing."""

Step = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""One round, from weights (N,) and centroids (k,): the code of each weight (N,), and the moved centroids (k,)."""

MOST = 2000  # weights that take part: of a larger layer evenly many, so that a picture takes less than 0.1 s
BARS = 81
ROUNDS = 24  # the last one on the slider
INITIALISATIONS = ("linear", "density", "random")


@dataclass(frozen=True)
class Clusters:
    """One setting. Arrays are float64, in the unit of the weights."""

    name: str
    bits: int
    init: str
    round: int
    weights: np.ndarray  # those that take part, (N,), N at most MOST
    first: np.ndarray  # first centroids, (2^bits - 1,)
    centroids: np.ndarray  # after the round, (2^bits - 1,)
    squares: np.ndarray  # within-cluster sum of squares before round 1, 2, ...; as many as there are rounds, and one
    empty: int  # centroids without weights in this round
    count: int  # how many weights the layer has
    still: bool  # whether nothing moves any more

    @property
    def size(self) -> float:
        """Bits that a weight takes: its code, and its share of the codebook."""
        return self.bits + 32 * 2**self.bits / self.count

    @property
    def summary(self) -> str:
        """The numbers in one line."""
        start, now = self.squares[0], self.squares[self.round]
        share = 100 * now / start if start else 100
        return (
            f"{self.name}, {self.bits} bits, {self.init}, after {self.round} rounds: sum of squares {now:.4g}, "
            f"{share:.0f} % of that at first{', nothing moves any more' if self.still else ''}; "
            f"{self.empty} of {len(self.centroids)} centroids without weights; {self.size:.2f} bits a weight, "
            f"codebook included, {32 / self.size:.1f} times fewer than 32"
        )


def compute_clusters(
    name: str, weights: torch.Tensor, bits: int, init: str, rounds: int, first: First, step: Step
) -> Clusters:
    """The numbers of one setting.

    Args:
        name: for the title.
        weights: those of a layer that are left, (N,), N >= 2^bits - 1.
        bits: of a code; code 0 is for pruned weights, so there are 2^bits - 1 centroids.
        init: a name that ``first`` knows. What is drawn at random is the same each time.
        rounds: how many.
        first, step: the student's functions. What they raise passes through.

    Raises:
        ValueError: if what they return cannot be drawn.
    """
    some = weights.double()[:: -(-len(weights) // MOST)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        start = drawable(first(some, 2**bits - 1, init), (2**bits - 1,), first)
    centroids, moved, squares = start, start, []
    for _ in range(rounds + 1):
        centroids = moved
        codes, moved = step(some, centroids)
        codes, moved = drawable(codes, some.shape, step), drawable(moved, centroids.shape, step)
        squares.append(float((some - centroids[codes]).square().sum()))
    return Clusters(
        name=name,
        bits=bits,
        init=init,
        round=rounds,
        weights=some.numpy(),
        first=start.numpy(),
        centroids=centroids.numpy(),
        squares=np.array(squares),
        empty=len(centroids) - len(codes.unique()),
        count=len(weights),
        still=torch.equal(moved, centroids),
    )


def draw_clusters(clusters: Clusters, axes: Sequence[Any]) -> None:
    """Draws weights and centroids on the first of two axes, the sums of squares on the second."""
    top, bottom = axes
    heights, edges = np.histogram(clusters.weights, BARS)
    top.stairs(heights, edges, fill=True, color=plots.COLOURS["sky"], label="weights")
    high = float(heights.max())
    top.vlines(clusters.centroids, 0, high, color=plots.COLOURS["vermillion"], linewidth=1.2, label="centroids")
    top.plot(
        clusters.first,
        np.full(len(clusters.first), 1.06 * high),
        "v",
        color=plots.COLOURS["black"],
        markersize=4,
        label="where they began",
    )
    top.set(
        title=f"{clusters.name}, {clusters.bits} bits, {clusters.init}, {clusters.round} rounds",
        xlabel="value of a weight",
        ylabel="how many",
    )
    top.set_ylim(0, 1.3 * high)
    top.legend(fontsize=8, loc="upper center", ncols=3)
    bottom.plot(clusters.squares, "-o", color=plots.COLOURS["blue"], markersize=3)
    bottom.plot([clusters.round], clusters.squares[-1:], "D", color=plots.COLOURS["vermillion"], markersize=6)
    bottom.set(xlabel="rounds", ylabel="sum of squares", xlim=(-0.5, ROUNDS + 0.5))
    bottom.set_ylim(0, 1.08 * float(clusters.squares.max()) or 1)


def codebook_still(
    tensors: Mapping[str, torch.Tensor], settings: Sequence[tuple[str, int, str, int]], first: First, step: Step
) -> Figure:
    """The demo without controls: a column for each setting.

    Args:
        tensors: name -> weights of a layer that are left, (N,).
        settings: name, bits, initialisation and rounds.
        first, step: the student's functions.
    """
    figure = Figure(figsize=(4.4 * len(settings), 4.4), layout="constrained")
    grid = figure.subplots(2, len(settings), squeeze=False, height_ratios=(2, 1))
    told = []
    for column, (name, bits, init, rounds) in enumerate(settings):
        clusters = compute_clusters(name, tensors[name], bits, init, rounds, first, step)
        draw_clusters(clusters, grid[:, column])
        told.append(clusters.summary)
        if column:
            for ax in grid[:, column]:
                ax.set_ylabel("")
    figure.set_label(". ".join(told))  # the text alternative: see alt_text
    return figure


def codebook_demo(tensors: Mapping[str, torch.Tensor], first: First, step: Step) -> Any:
    """Menus for layer and initialisation, sliders for bits and rounds; the picture follows.

    The controls take the keyboard. The picture carries its numbers as text for screen readers. What the student's
    functions raise is shown in the picture's place.

    Args:
        tensors: name -> weights of a layer that are left, (N,), at least 31 of each.
        first, step: the student's functions.

    Returns:
        An ipywidgets box.
    """
    import ipywidgets as widgets

    wide = {"layout": widgets.Layout(width="420px"), "style": {"description_width": "80px"}}
    which = widgets.Dropdown(options=list(tensors), description="layer", **wide)
    init = widgets.Dropdown(options=INITIALISATIONS, description="begins", **wide)
    bits = widgets.IntSlider(value=3, min=2, max=5, description="bits", **wide)
    rounds = widgets.IntSlider(value=0, min=0, max=ROUNDS, description="rounds", **wide)
    picture = widgets.HTML()

    def show() -> str:
        weights = tensors[which.value]
        clusters = compute_clusters(which.value, weights, bits.value, init.value, rounds.value, first, step)
        figure = Figure(figsize=(7.2, 4.2), dpi=80, layout="none")
        figure.subplots_adjust(left=0.1, right=0.98, top=0.93, bottom=0.12, hspace=0.4)
        draw_clusters(clusters, figure.subplots(2, 1, height_ratios=(2, 1)))
        return f"<p>{clusters.summary}</p>{image_tag(figure, clusters.summary)}"

    update = live(picture, show)
    for control in (which, init, bits, rounds):
        control.observe(update, names="value")
    update()
    return widgets.VBox([which, init, bits, rounds, picture])
