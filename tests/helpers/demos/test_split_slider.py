"""The split slider: its numbers, the still picture, and the controls without a browser."""

from __future__ import annotations

import base64
import io
import re

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from course_utils.demos import split_slider
from course_utils.numerics.formats import FloatFormat


def convert(value, word_length, exponent_bits):
    return FloatFormat(exponent_bits, word_length - 1 - exponent_bits).quantize(value)


def tensors():
    maker = torch.Generator().manual_seed(0)
    return {
        "weights": torch.randn(64, 32, 3, 3, generator=maker) * 0.05,
        "map": torch.relu(torch.randn(8, 16, 30, 30, generator=maker) * 4),
    }


@pytest.mark.parametrize(("word_length", "most"), [(8, 6), (16, 7), (4, 2)])
def test_ratios_are_those_of_every_split(word_length, most):
    x = torch.randn(3000, generator=torch.Generator().manual_seed(1))
    split = split_slider.compute_split("x", x, word_length, 2, convert)
    assert len(split.ratios) == most == len(split_slider.splits(word_length))
    for e in range(1, most + 1):
        error = float((convert(x, word_length, e).double() - x.double()).square().mean())
        assert split.ratios[e - 1] == pytest.approx(10 * np.log10(float(x.double().square().mean()) / error), rel=1e-9)
    assert split.best == 1 + split.ratios.argmax()


def test_numbers_of_one_split():
    x = torch.tensor([0.0, 0.005, 0.01, 1.0, 1.5, 3.3, 100.0, -20.0])
    split = split_slider.compute_split("x", x, 8, 3, convert)
    assert split.vanished == 1 / 8 and split.saturated == 2 / 8  # 0.005 becomes 0; 100 and -20 are beyond 15.5
    assert split.shares.sum() == pytest.approx(100 * 7 / 8)  # 0 is in no power of two
    at = dict(zip(split.powers.tolist(), split.shares.tolist(), strict=True))
    assert at[0] == 25 and at[1] == 12.5 and at[6] == 12.5 and at[2] == 0
    relative = dict(zip(split.powers.tolist(), split.relative.tolist(), strict=True))
    assert relative[0] == 0 and relative[1] == pytest.approx(100 * 0.05 / 3.3, rel=1e-5)
    assert relative[6] == pytest.approx(84.5) and np.isnan(relative[2])
    assert "12.5 % become 0" in split.summary and "25.0 % saturate" in split.summary


def test_data_that_a_format_holds_have_no_error():
    split = split_slider.compute_split("x", torch.tensor([1.0, 0.5, -2.0]), 8, 3, convert)
    assert np.isinf(split.ratios[2])
    axes = Figure().subplots(3, 1)
    split_slider.draw_tensor(split, axes)
    split_slider.draw_split(split, axes)


def test_still_picture_has_a_column_for_each_setting():
    figure = split_slider.split_still(tensors(), [("weights", 8, 3), ("map", 8, 2), ("map", 16, 5)], convert)
    where = mpl.rcParams["axes.titlelocation"]  # the course's style puts titles on the left
    assert [ax.get_title(loc=where) for ax in figure.axes[:3]] == ["weights, e3m4", "map, e2m5", "map, e5m10"]
    assert len(figure.axes) == 9 and figure.axes[0].get_legend() and not figure.axes[1].get_legend()
    figure.draw_without_rendering()


@pytest.fixture
def demo():
    return split_slider.split_demo(tensors(), convert)


def test_controls_change_the_picture(demo):
    tensor, word, bits, picture = demo.children
    seen = {picture.value}
    for control, value in ((bits, 4), (tensor, "map"), (word, 16), (bits, 7)):
        control.value = value
        seen.add(picture.value)
    assert len(seen) == 5
    alternative, data = re.search(r'alt="([^"]+)" src="data:image/png;base64,([^"]+)"', picture.value).groups()
    assert "e7m8" in alternative
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (576, 480)
    word.value = 8
    assert bits.max == bits.value == 6 and "e6m1" in picture.value


def test_an_error_of_the_students_is_shown():
    def broken(value, word_length, exponent_bits):
        raise NotImplementedError("symbolic_convert <is> missing")

    assert "symbolic_convert &lt;is&gt; missing" in split_slider.split_demo(tensors(), broken).children[-1].value
