"""The demo of shadow weights: its numbers, the still picture, and the controls without a browser."""

from __future__ import annotations

import ipywidgets
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from course_utils.demos import shadow_weights


def history():
    before = torch.tensor([[-0.5, 0.25], [0.1, 0.0]])
    after = torch.tensor([[0.75, 0.25], [-0.1, 0.0]])
    return [(0, before, before.sign()), (10, after, after.sign())]


def test_numbers_of_a_moment():
    weights = shadow_weights.compute_weights("TWN, layer 3", history(), 1)
    assert (weights.step, weights.levels, weights.zeros, weights.flipped) == (10, 3, 0.25, 0.5)
    assert weights.shadow.sum() == pytest.approx(100) and weights.seen.sum() == pytest.approx(100)
    middle = len(weights.seen) // 2
    assert weights.seen[middle] == 25 and weights.edges[middle] < 0 < weights.edges[middle + 1]
    assert "step 10" in weights.summary and "50.0 % have another sign" in weights.summary


def test_bars_are_the_same_for_all_moments():
    one, two = (shadow_weights.compute_weights("", history(), moment) for moment in (0, 1))
    assert np.array_equal(one.edges, two.edges) and one.flipped == 0


def test_weights_that_are_all_zero_have_bars():
    zeros = torch.zeros(3)
    weights = shadow_weights.compute_weights("zeros", [(0, zeros, zeros)], 0)
    assert weights.zeros == 1 and weights.levels == 1 and weights.shadow.max() == 100


def test_still_picture_has_a_column_for_each_moment():
    figure = shadow_weights.shadow_weights_still({"signs": history(), "levels": history()}, (0, 1))
    assert isinstance(figure, Figure) and len(figure.axes) == 8
    assert figure.get_label().count("the network sees") == 4
    figure.draw_without_rendering()


def test_controls_move_the_picture():
    demo = shadow_weights.shadow_weights_demo({"signs": history(), "levels": history()})
    which, moment, picture = demo.children
    assert isinstance(which, ipywidgets.Dropdown) and which.description and moment.description and moment.max == 1
    first = picture.value
    moment.value = 1
    assert picture.value != first and "step 10" in picture.value and "alt=" in picture.value
    which.value = "levels"
    assert "levels, step 10" in picture.value
