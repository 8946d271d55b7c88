"""The number line against ml_dtypes, gfloat and plain arithmetic; its view without a browser."""

from __future__ import annotations

from itertools import product

import gfloat
import ml_dtypes
import numpy as np
import pytest
import torch
from gfloat.formats import format_info_binary16, format_info_ocp_e5m2

from course_utils.demos import number_line
from course_utils.demos.number_line import compute_number_line, matching_point

PEERS = {(5, 2): ml_dtypes.float8_e5m2, (4, 3): ml_dtypes.float8_e4m3, (3, 4): ml_dtypes.float8_e3m4}


@pytest.mark.parametrize("split", PEERS)
def test_values_are_those_of_ml_dtypes(split):
    every = np.arange(256, dtype=np.uint8).view(PEERS[split]).astype(np.float64)
    line = compute_number_line(*split)
    np.testing.assert_array_equal(line.float_values, np.unique(every[np.isfinite(every)]))


@pytest.mark.parametrize(("split", "info"), [((5, 2), format_info_ocp_e5m2), ((5, 10), format_info_binary16)])
def test_values_are_those_of_gfloat(split, info):
    every = [gfloat.decode_float(info, code).fval for code in range(2**info.bits)]
    line = compute_number_line(*split)
    np.testing.assert_array_equal(line.float_values, np.unique([v for v in every if np.isfinite(v)]))


@pytest.mark.parametrize("e", range(1, 7))
@pytest.mark.parametrize("m", range(1, 7))
def test_fixed_point_of_the_same_width_just_covers_the_range(e, m):
    line = compute_number_line(e, m)
    step = 2.0**-line.fraction_bits
    half = 2 ** (e + m)
    np.testing.assert_array_equal(line.fixed_values, np.arange(-half, half) * step)
    largest = line.float_values[-1]
    assert half * step > largest >= half * step / 2


def test_point_and_zoom_can_be_chosen():
    line = compute_number_line(3, 4, 7, zoom=2)
    assert line.names == ("float e3m4", "fixed 1.7")
    assert line.fixed_values[-1] == 127 / 128
    assert line.shown == pytest.approx(1.05 * 15.5 / 4)
    assert matching_point(3, 4) == 3
    assert "largest 15.5" in line.summary and "100 % of them within (-1, 1)" in line.summary


def test_too_wide():
    with pytest.raises(ValueError):
        compute_number_line(8, 10)


def test_still_draws_every_value_and_every_step():
    figure = number_line.number_line_still([(3, 4)])
    linear, logarithmic, gaps = figure.axes
    assert [len(c.get_segments()) for c in linear.collections] == [223, 256]
    assert [len(c.get_segments()) for c in logarithmic.collections] == [111, 127]
    floats, fixed = gaps.patches
    np.testing.assert_array_equal(2.0 ** floats.get_data().values, [1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2])
    np.testing.assert_allclose(2.0 ** floats.get_data().edges, [1 / 64, 0.5, 1, 2, 4, 8, 15.5], rtol=1e-12)
    np.testing.assert_array_equal(2.0 ** fixed.get_data().values, [1 / 8])


def demo(*arguments):
    box = number_line.number_line_demo(*arguments)
    (exponent, mantissa), (point, zoom) = (row.children for row in box.children[:2])
    return {"exponent": exponent, "mantissa": mantissa, "point": point, "zoom": zoom}, box.children[2]


def test_every_slider_changes_the_picture():
    sliders, picture = demo()
    for slider in sliders.values():
        for value in (slider.value + 1, slider.value):
            before = picture.value
            slider.value = value
            assert picture.value != before


def test_the_point_follows_the_format():
    sliders, picture = demo()
    sliders["exponent"].value = 5
    assert sliders["point"].value == matching_point(5, 4)
    assert "float e5m4" in picture.value


def test_extreme_settings_can_be_shown():
    sliders, picture = demo()
    for e, m in product((2, 5), (1, 6)):
        sliders["exponent"].value, sliders["mantissa"].value = e, m
        for end in (sliders["point"].min, sliders["point"].max):
            sliders["point"].value = end
            assert "<img" in picture.value, picture.value


def test_shows_the_students_values_and_errors():
    _, picture = demo(lambda e, m: torch.tensor([-1.0, 0.0, 1.0, 2.0]))
    assert "4 values, smallest 1, largest 2" in picture.value

    def stub(e, m):
        raise NotImplementedError("minifloat_values")

    _sliders, picture = demo(stub)
    assert "<b>NotImplementedError</b>: minifloat_values" in picture.value
