"""The demo of clusters: its numbers, the still picture, and the controls without a browser."""

from __future__ import annotations

import ipywidgets
import numpy as np
import torch
from matplotlib.figure import Figure

from course_utils.demos import codebook_clusters


def first(weights, count, init):
    assert init in ("linear", "density", "random")
    if init == "random":
        return weights[torch.randperm(len(weights))[:count]].sort().values
    return torch.linspace(weights.min(), weights.max(), count, dtype=weights.dtype)


def step(weights, centroids):
    codes = (weights[:, None] - centroids).abs().argmin(1)
    moved = [weights[codes == place].mean() if (codes == place).any() else c for place, c in enumerate(centroids)]
    return codes, torch.stack(moved)


def compute(weights, bits=2, init="linear", rounds=1):
    return codebook_clusters.compute_clusters("a layer", weights, bits, init, rounds, first, step)


FOUR = torch.tensor([0.0, 1.0, 9.0, 10.0])


def test_numbers_of_a_round():
    clusters = compute(FOUR)
    assert clusters.first.tolist() == [0, 5, 10] and clusters.centroids.tolist() == [0.5, 5, 9.5]
    assert clusters.squares.tolist() == [2, 1] and clusters.empty == 1 and clusters.still
    assert clusters.size == 2 + 32 * 4 / 4
    for told in ("after 1 rounds", "50 % of that at first", "nothing moves any more", "1 of 3 centroids without"):
        assert told in clusters.summary


def test_sums_fall_round_by_round():
    weights = torch.randn(500, generator=torch.Generator().manual_seed(0))
    clusters = compute(weights, bits=3, rounds=20)
    assert len(clusters.squares) == 21 and (np.diff(clusters.squares) <= 1e-12).all()
    before = compute(weights, bits=3, rounds=0)
    assert np.array_equal(before.first, before.centroids) and before.squares[0] == clusters.squares[0]


def test_large_layers_take_part_evenly():
    clusters = compute(torch.arange(100_001.0))
    assert len(clusters.weights) <= codebook_clusters.MOST and clusters.count == 100_001
    assert clusters.weights[1] - clusters.weights[0] == clusters.weights[-1] - clusters.weights[-2]


def test_what_is_drawn_stays_and_leaves_no_trace():
    before = torch.random.get_rng_state()
    one, two = (compute(torch.arange(100.0), init="random") for _ in range(2))
    assert np.array_equal(one.first, two.first) and torch.equal(before, torch.random.get_rng_state())


def test_weights_on_their_centroids_have_sums_of_0():
    assert "100 % of that at first" in compute(torch.tensor([1.0, 2.0, 3.0])).summary


def test_a_stub_is_told():
    def stub(*_):
        raise NotImplementedError("kmeans_codebook")

    *_, picture = codebook_clusters.codebook_demo({"a layer": FOUR.repeat(10)}, first, stub).children
    assert "<b>NotImplementedError</b>: kmeans_codebook" in picture.value


def test_still_picture_has_a_column_for_each_setting():
    settings = [("a", 2, "linear", 0), ("a", 2, "random", 3)]
    figure = codebook_clusters.codebook_still({"a": FOUR}, settings, first, step)
    assert isinstance(figure, Figure) and len(figure.axes) == 4
    assert figure.get_label().count("sum of squares") == 2
    figure.draw_without_rendering()


def test_controls_move_the_picture():
    weights = torch.randn(200, generator=torch.Generator().manual_seed(0))
    demo = codebook_clusters.codebook_demo({"a": weights, "b": 2 * weights}, first, step)
    *controls, picture = demo.children
    assert all(isinstance(control, ipywidgets.Dropdown | ipywidgets.IntSlider) for control in controls)
    assert all(control.description for control in controls)
    for control, value, told in zip(
        controls, ("b", "random", 5, 24), ("b, 3 bits", "random", "5 bits", "after 24 rounds"), strict=True
    ):
        seen = picture.value
        control.value = value
        assert picture.value != seen and told in picture.value and "alt=" in picture.value
