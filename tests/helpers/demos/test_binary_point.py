"""The demo of the binary point: its numbers, the still picture, and the controls without a browser."""

from __future__ import annotations

import ipywidgets
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from course_utils.demos import binary_point
from course_utils.demos.binary_point import LENGTHS, PointTools, compute_point, compute_spread
from course_utils.numerics import DynamicFixedPoint, FixedPoint


def fixed_point(x, word_length, fraction_length):
    return FixedPoint(word_length - fraction_length, fraction_length).quantize(x)


def integer_length(x, word_length):
    return DynamicFixedPoint(word_length).format_for(x).integer_bits


def best_fraction_length(x, word_length, lengths):
    return min(lengths, key=lambda f: float((fixed_point(x, word_length, f) - x).double().square().sum()))


TOOLS = PointTools(fixed_point, integer_length, best_fraction_length)
VALUES = torch.tensor([0.0, 0.75, -1.5, 1.0, 4.0, 0.1, -0.1, 0.3])
TENSORS = {"few": VALUES, "small": VALUES / 64}


def test_values_are_counted_by_their_exponent():
    spread = compute_spread(TOOLS, "few", VALUES, 4)
    shares = dict(zip(spread.exponents.tolist(), spread.shares.tolist(), strict=True))
    assert shares == {-4: 25.0, -3: 0.0, -2: 12.5, -1: 12.5, 0: 25.0, 1: 0.0, 2: 12.5}
    assert spread.zeros == 0.125


def test_curve_has_the_error_of_every_fraction_length():
    spread = compute_spread(TOOLS, "few", VALUES, 4)
    expected = [float((fixed_point(VALUES, 4, f) - VALUES).double().square().mean()) for f in LENGTHS]
    assert spread.errors.tolist() == expected
    assert (spread.safe, spread.best) == (0, LENGTHS[int(np.argmin(expected))])


def test_a_point_tells_what_is_cut_and_what_is_lost():
    point = compute_point(TOOLS, compute_spread(TOOLS, "few", VALUES, 4), VALUES, 1)  # steps of 1/2, up to 3.5
    assert (point.cut, point.lost) == (0.125, 0.25)
    point = compute_point(TOOLS, point.spread, VALUES, 2)  # steps of 1/4, up to 1.75
    assert (point.cut, point.lost) == (0.125, 0.25)
    assert "Q2.2: step 2^-2 · 12.50 % of the values cut · 25.0 % become 0" in point.summary
    assert point.error == pytest.approx(float((fixed_point(VALUES, 4, 2) - VALUES).square().mean()))


def test_zeros_have_a_picture():
    figure = binary_point.binary_point_still(TOOLS, {"zeros": torch.zeros(3)}, [("zeros", 4, 0)])
    figure.draw_without_rendering()


def test_still_picture_has_a_row_for_each_setting():
    figure = binary_point.binary_point_still(TOOLS, TENSORS, [("few", 4, 1), ("small", 8, 9)])
    assert isinstance(figure, Figure) and len(figure.axes) == 4
    assert figure.get_label().count("mean squared error") == 2
    figure.draw_without_rendering()


def test_controls_move_the_picture():
    demo = binary_point.binary_point_demo(TOOLS, TENSORS)
    tensor, place, word, picture = demo.children
    assert isinstance(tensor, ipywidgets.Dropdown) and all(c.description for c in (tensor, place, word))
    for control, value, told in ((place, 3, "few, Q1.3"), (word, 6, "few, Q3.3"), (tensor, "small", "small, Q3.3")):
        before = picture.value
        control.value = value
        assert picture.value != before and told in picture.value and 'alt="' in picture.value


def test_a_moved_point_leaves_the_rest_of_the_picture():
    demo = binary_point.binary_point_demo(TOOLS, TENSORS, fraction_length=1)
    place, picture = demo.children[1], demo.children[3]
    first = picture.value
    place.value = 5
    place.value = 1
    assert picture.value == first


def test_errors_of_the_shown_functions_are_told():
    def broken(x, word_length, fraction_length):
        raise ValueError("5 < 6")

    demo = binary_point.binary_point_demo(PointTools(broken, integer_length, best_fraction_length), TENSORS)
    assert "ValueError" in demo.children[3].value and "5 &lt; 6" in demo.children[3].value
