"""Cut and round: the two errors, the still picture, and the controls without a browser."""

from __future__ import annotations

import math
import re

import ipywidgets
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from course_utils.demos import clipping_slider
from course_utils.demos.clipping_slider import WIDTHS, Tools, compute_clipping
from course_utils.quantization.power_of_two import integer_scale, remove_outliers, to_integers

TOOLS = Tools(remove_outliers, integer_scale, to_integers)


@pytest.fixture(scope="module")
def weights():
    g = torch.Generator().manual_seed(0)
    return {"even": torch.rand(20_000, generator=g) - 0.5, "bell": torch.randn(60, 50, 5, generator=g) * 0.1}


def test_rounding_of_even_weights_is_a_twelfth_of_a_step_squared(weights):
    # even weights between -1/2 and 1/2 lie within sqrt(3) deviations: at m = 2 nothing is cut
    for num_bits in (4, 8):
        found = compute_clipping(TOOLS, "even", weights["even"], 2.0, num_bits)
        assert found.clipped == 0 and found.clipping[found.at] == 0
        assert found.step == pytest.approx(0.5 / (2 ** (num_bits - 1) - 1), rel=1e-3)
        assert found.rounding[found.at] == pytest.approx(found.step**2 / 12, rel=0.03)


def test_share_that_is_cut_is_that_of_the_normal_distribution(weights):
    count = weights["bell"].numel()
    for m in (1.0, 2.0, 3.0):
        share = math.erfc(m / math.sqrt(2))
        found = compute_clipping(TOOLS, "bell", weights["bell"], m, 6)
        assert found.clipped == pytest.approx(share, abs=5 * math.sqrt(share / count))  # five standard errors
        assert found.high == pytest.approx(0.1 * m, rel=0.03) and found.low == pytest.approx(-0.1 * m, rel=0.03)


def test_a_wider_range_cuts_less_and_rounds_more_and_more_bits_want_a_wider_one(weights):
    few, many = (compute_clipping(TOOLS, "bell", weights["bell"], 3.0, n) for n in (2, 8))
    for found in (few, many):
        assert (np.diff(found.clipping) <= 0).all()
        assert found.rounding[8] < found.rounding[12]  # m = 2.25 and 3.25
    assert np.array_equal(few.clipping, many.clipping)
    assert few.best < many.best


def test_curves_do_not_depend_on_the_m_of_the_slider(weights):
    first, second = (compute_clipping(TOOLS, "bell", weights["bell"], m, 4) for m in (1.0, 5.0))
    assert np.array_equal(first.rounding, second.rounding) and first.step < second.step
    assert [WIDTHS[found.at] for found in (first, second)] == [1.0, 5.0]


def test_summary_tells_the_numbers(weights):
    summary = compute_clipping(TOOLS, "bell", weights["bell"], 2.0, 4).summary
    number = r"[\d.e-]+"
    assert re.fullmatch(
        rf"bell, 4 bits, m = 2 · step {number} · {number} % of the weights are cut · rounding error {number} · "
        rf"clipping error {number} · least sum at m = {number}",
        summary,
    )


def test_drawing_shows_codes_where_there_is_room_and_draws_anew(weights):
    figure = Figure()
    axes = figure.subplots(1, 2)
    counts = []
    for num_bits in (3, 8, 3):
        clipping_slider.draw_clipping(compute_clipping(TOOLS, "bell", weights["bell"], 3.0, num_bits), axes)
        labels = [text.get_text() for text in axes[0].get_legend().get_texts()]
        assert ("codes" in labels) == (num_bits == 3)
        assert [text.get_text() for text in axes[1].get_legend().get_texts()] == [
            "rounding error",
            "clipping error",
            "sum",
        ]
        counts.append([len([*ax.lines, *ax.patches, *ax.collections]) for ax in axes])
    assert counts[0] == counts[2]
    assert all(ax.get_xlabel() and ax.get_ylabel() for ax in axes)


def test_still_has_a_row_for_each_setting(weights):
    figure = clipping_slider.clipping_still(TOOLS, weights, [("bell", 4.0, 3), ("even", 2.0, 8)])
    assert [ax.get_title().split(":")[0] for ax in figure.axes][::2] == ["bell", "even"]
    assert "bell, 3 bits" in figure.get_label() and "even, 8 bits" in figure.get_label()


def test_controls_change_the_picture(weights):
    box = clipping_slider.clipping_demo(TOOLS, weights)
    choice, width, bits, picture = box.children
    assert isinstance(choice, ipywidgets.Dropdown) and isinstance(bits, ipywidgets.IntSlider)
    seen = [picture.value]
    for control, value in ((bits, 5), (choice, "bell"), (width, 2.25)):
        control.value = value
        seen.append(picture.value)
    assert len(set(seen)) == 4
    assert all("<img" in s and 'alt="' in s for s in seen)
    assert "bell, 5 bits, m = 2.25" in seen[-1]


def test_what_the_students_functions_raise_is_shown(weights):
    def broken(data, m):
        raise ValueError("not <yet>")

    *_, picture = clipping_slider.clipping_demo(Tools(broken, integer_scale, to_integers), weights).children
    assert "ValueError" in picture.value and "not &lt;yet&gt;" in picture.value
