"""Pictures: what is drawn where, and that every axis says what it shows."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from course_utils.pictures import plots


@pytest.fixture
def axes():
    return Figure().subplots()


def test_palette_holds_eight_different_colours():
    assert len({c.lower() for c in plots.COLOURS.values()}) == 8


def test_course_style_uses_the_palette():
    with mpl.rc_context():
        plots.use_course_style()
        assert mpl.rcParams["axes.prop_cycle"].by_key()["color"] == list(plots.COLOURS.values())


def test_code_line_draws_an_arrow_from_each_value_to_its_code(axes):
    plots.code_line(axes, [-3.0, 0.0, 6.0], [0, 2, 7], 9 / 7, 2, num_bits=3)
    arrows = [t for t in axes.texts if getattr(t, "arrow_patch", None) is not None]
    assert [round(float(a.xy[0]), 3) for a in arrows] == [round(9 / 7 * (c - 2), 3) for c in (0, 2, 7)]
    labels = [t.get_text() for t in axes.texts]
    assert {"0", "7", "zero point", "-3"} <= set(labels)


def test_error_band_is_one_step_high(axes):
    plots.error_band(axes, np.array([0.0, 1.0]), np.array([0.1, -0.1]), 0.5)
    box = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert box.height == pytest.approx(0.5)
    assert axes.get_xlabel() and axes.get_ylabel()


def test_histogram_heights_are_percent_a_step_for_values_and_for_codes(axes):
    values = np.array([0.1, 0.2, 0.9, 0.8])
    plots.grid_histogram(axes, values, np.round(values), np.linspace(0, 1, 5), step=1.0)
    # half of the values in each of two bins whose width is a quarter of a step
    assert axes.patches[0].get_data().values.tolist() == [200, 0, 0, 200]
    assert axes.lines[0].get_ydata().tolist() == [50, 50]
    assert "%" in axes.get_ylabel()


def test_channel_ranges_follow_the_axis(axes):
    weight = torch.tensor([[-1.0, 2.0], [0.5, 4.0], [-3.0, 0.0]])
    plots.channel_ranges(axes, weight, axis=1)
    bars = axes.containers[0].patches
    assert [(b.get_y(), b.get_y() + b.get_height()) for b in bars] == [(-3.0, 0.5), (0.0, 4.0)]
    bottom, top = axes.get_ylim()
    assert bottom < -3 and top > 4  # nothing is cut off


def test_curves_differ_by_colour_and_by_marker(axes):
    plots.curves_by_bits(axes, range(2, 5), {"one": [1, 2, 3], "two": [2, 3, 4]})
    one, two = axes.lines
    assert one.get_color() != two.get_color() and one.get_marker() != two.get_marker()
    assert "dB" in axes.get_ylabel()
