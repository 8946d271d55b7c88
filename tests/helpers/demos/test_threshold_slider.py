"""The threshold slider: its numbers, the still picture, and the controls without a browser."""

from __future__ import annotations

import base64
import io
import re

import ipywidgets
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from course_utils.demos import threshold_slider
from course_utils.quantization import observers
from course_utils.quantization.observers import Histogram


def layers():
    rng = np.random.default_rng(0)
    return {
        "image": Histogram.of(rng.uniform(-1, 1, 5000)),
        "relu": Histogram.of(np.maximum(rng.normal(size=5000), 0)),
        "below": Histogram.of(-np.abs(rng.normal(size=5000))),
        "zeros": Histogram.of(np.zeros(10)),
    }


@pytest.mark.parametrize("name", ["image", "relu", "below"])
def test_curves_are_those_of_the_observers(name):
    histogram = layers()[name]
    curves = threshold_slider.compute_curves(name, histogram, 6)
    magnitudes = histogram.magnitudes()
    thresholds, divergence = observers.entropy_curve(magnitudes, 6)
    assert np.array_equal(curves.kl_thresholds, thresholds) and np.array_equal(curves.kl, divergence)
    t = curves.mse_thresholds[40]
    ends = (-t if histogram.min < 0 else 0, t if histogram.max > 0 else 0)
    assert curves.mse[40] == pytest.approx(observers.mse_curve(histogram, 6, *ends)[0])
    assert curves.shares.sum() == pytest.approx(100)
    assert len(curves.edges) == len(curves.shares) + 1 <= 1 + threshold_slider.COLUMNS


def test_numbers_of_one_threshold():
    values = np.concatenate([np.zeros(60), np.full(30, 0.9), np.full(10, 3.9)])
    curves = threshold_slider.compute_curves("layer", Histogram.of(values), 4)
    t = threshold_slider.compute_threshold(curves, 2.0)
    assert t.clipped == pytest.approx(0.1)
    assert t.step == pytest.approx(2 / 15)
    assert t.mse == pytest.approx(0.1 * 1.9**2, rel=0.01)
    assert t.kl == curves.kl[np.searchsorted(curves.kl_thresholds, 2.0)]
    assert "10.00 % of the values are cut" in t.summary and "nats" in t.summary


def test_below_the_first_candidate_there_is_no_divergence():
    curves = threshold_slider.compute_curves("relu", layers()["relu"], 8)
    t = threshold_slider.compute_threshold(curves, curves.kl_thresholds[0] / 2)
    assert t.kl is None and "no divergence" in t.summary


def test_a_threshold_beyond_everything_cuts_nothing():
    curves = threshold_slider.compute_curves("relu", layers()["relu"], 8)
    t = threshold_slider.compute_threshold(curves, 2 * curves.edges[-1])
    assert t.clipped == 0 and t.kl == curves.kl[-1]


def test_still_picture_has_a_column_for_each_layer_and_its_marks():
    shown = {name: layers()[name] for name in ("image", "relu")}
    figure = threshold_slider.threshold_still(shown, {"relu": {"entropy": 0.3}}, thresholds={"image": 0.5})
    assert isinstance(figure, Figure) and len(figure.axes) == 6
    assert all(ax.get_ylabel() for ax in figure.axes[::2])
    assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == ["entropy: 0.30"]
    figure.draw_without_rendering()


@pytest.fixture
def demo():
    box = threshold_slider.threshold_demo(layers(), {"relu": {"entropy": 0.3}})
    layer, bits, row, picture = box.children
    return layer, bits, row.children[0], picture


def image(picture) -> np.ndarray:
    data = re.search(r'base64,([^"]+)"', picture.value).group(1)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_controls_move_the_picture(demo):
    layer, bits, share, picture = demo
    assert isinstance(layer, ipywidgets.Dropdown) and isinstance(bits, ipywidgets.IntSlider)
    for control, value in ((share, 30), (layer, "relu"), (bits, 4), (share, 31), (layer, "zeros"), (layer, "below")):
        before = picture.value
        control.value = value
        assert picture.value != before


def test_only_the_threshold_moves_and_it_comes_back_where_it_was(demo):
    layer, _, share, picture = demo
    layer.value = "relu"
    before = image(picture)
    share.value = 20
    moved = image(picture)
    share.value = 60
    assert np.array_equal(image(picture), before)
    assert 0 < (moved != before).any(axis=-1).mean() < 0.3


def test_marks_are_shown_only_for_the_bits_they_belong_to(demo):
    layer, bits, _, picture = demo
    layer.value = "relu"
    with_marks = image(picture)
    bits.value = 7
    bits.value = 8
    assert np.array_equal(image(picture), with_marks)
    unmarked = threshold_slider.threshold_demo(layers())
    unmarked.children[0].value = "relu"
    assert not np.array_equal(image(unmarked.children[-1]), with_marks)


def test_picture_has_a_text_alternative(demo):
    assert 'alt="threshold' in demo[-1].value and "mean squared error" in demo[-1].value


def test_no_figure_stays_in_pyplot():
    import matplotlib.pyplot as plt

    threshold_slider.threshold_demo(layers())
    threshold_slider.threshold_still(layers())
    assert plt.get_fignums() == []
