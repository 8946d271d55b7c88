"""Demos: the numbers, the still picture, and the sliders without a browser."""

from __future__ import annotations

import math

import ipywidgets
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from course_utils.demos import staircase


def quantize(x, min_val, max_val, num_bits):
    low, high = min(min_val, 0.0), max(max_val, 0.0)
    scale = (high - low) / (2**num_bits - 1) or 1.0
    zero = round(-low / scale)
    return torch.clamp(torch.round(x / scale) + zero, 0, 2**num_bits - 1), scale, zero


def dequantize(q, scale, zero):
    return scale * (q - zero)


@pytest.fixture
def values():
    return torch.randn(3000, generator=torch.Generator().manual_seed(0)) * 1.4 + 1


def test_numbers_of_the_staircase(values):
    s = staircase.compute_staircase(quantize, dequantize, values, -3, 6, 3)
    assert (s.scalefactor, s.zeropoint) == (pytest.approx(9 / 7), 2)
    assert len(np.unique(s.stairs)) <= 8
    inside = (s.grid >= -3) & (s.grid <= 6)
    assert np.abs(s.stairs - s.grid)[inside].max() <= s.scalefactor / 2 + 1e-6
    assert s.saturated == pytest.approx(((values < -3) | (values > 6)).double().mean().item())
    noise = np.mean((s.values - s.dequantized) ** 2)
    assert s.sqnr_db == pytest.approx(10 * math.log10(np.mean(s.values**2) / noise))


def test_what_is_shown_covers_the_data_or_what_was_asked(values):
    s = staircase.compute_staircase(quantize, dequantize, values, -3, 6, 3)
    assert s.grid[0] < values.min() and s.grid[-1] > values.max()
    s = staircase.compute_staircase(quantize, dequantize, values, -3, 6, 3, shown=(-1, 1), points=11)
    assert (s.grid[0], s.grid[-1], len(s.grid)) == (-1, 1, 11)


def test_values_are_not_changed(values):
    before = values.clone()
    staircase.compute_staircase(quantize, dequantize, values, -3, 6, 3)
    assert torch.equal(values, before)


def test_no_noise_is_infinite_sqnr():
    s = staircase.compute_staircase(quantize, dequantize, torch.tensor([0.0, 1.0, 3.0]), 0, 3, 2)
    assert s.sqnr_db == math.inf
    assert "inf dB" in s.summary


def test_still_picture_has_a_column_for_each_setting(values):
    figure = staircase.staircase_still(quantize, dequantize, values, [(-3, 6, 3), (-1, 2, 8)])
    assert isinstance(figure, Figure) and len(figure.axes) == 6
    assert all(ax.get_ylabel() for ax in figure.axes)
    figure.draw_without_rendering()


@pytest.fixture
def demo(values):
    box = staircase.staircase_demo(quantize, dequantize, values)
    return {child.description: child for child in box.children[:-1]}, box.children[-1]


def test_sliders_move_the_picture(demo):
    sliders, picture = demo
    assert set(sliders) == {"min_val", "max_val", "num_bits"}
    assert all(isinstance(s, ipywidgets.FloatSlider | ipywidgets.IntSlider) for s in sliders.values())
    for name, value in (("num_bits", 5), ("max_val", 2.0), ("min_val", 0.0)):
        before = picture.value
        sliders[name].value = value
        assert picture.value != before


def test_picture_has_a_text_alternative(demo):
    _, picture = demo
    assert 'alt="scalefactor' in picture.value and "SQNR" in picture.value


def test_empty_range_is_shown_too(demo):
    sliders, picture = demo
    sliders["min_val"].value = sliders["max_val"].value = 0.0
    assert "scalefactor 1 " in picture.value


def test_an_error_of_the_student_is_shown_and_the_sliders_live_on(values):
    def fails(x, min_val, max_val, num_bits):
        if num_bits == 3:
            raise NotImplementedError("quantize_tensor <b>")
        return quantize(x, min_val, max_val, num_bits)

    box = staircase.staircase_demo(fails, dequantize, values)
    assert "NotImplementedError" in box.children[-1].value and "&lt;b&gt;" in box.children[-1].value
    box.children[2].value = 4
    assert "<img" in box.children[-1].value


def test_no_figure_stays_in_pyplot(values):
    import matplotlib.pyplot as plt

    staircase.staircase_demo(quantize, dequantize, values)
    staircase.staircase_still(quantize, dequantize, values)
    assert plt.get_fignums() == []
