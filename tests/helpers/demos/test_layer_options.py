"""Settings layer by layer: what is measured, the still picture, and the controls without a browser."""

from __future__ import annotations

import math

import ipywidgets
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from course_utils.demos import layer_options
from course_utils.demos.layer_options import Measured, Setting
from course_utils.profiler import IntegerLayer

LAYERS = ["first", "second", "third"]


class Book:
    """Measures nothing: notes what it is asked, and gives ratios by the bits."""

    def __init__(self):
        self.asked = []

    def __call__(self, settings):
        self.asked.append(settings)
        ratios = {n: math.inf if s.way == "float32" else 6.0 * s.num_bits for n, s in settings.items()}
        return Measured(ratios, right=80, reference_right=90, changed=15, images=100)


def test_a_setting_makes_the_layer_that_it_says():
    layer, ends = nn.Linear(3, 2), ((-1.0, 1.0), (-2.0, 2.0))
    made = Setting(5, "truncating").layer(layer, *ends)
    assert isinstance(made, IntegerLayer)
    assert (made.options.num_bits, made.options.rounding_div) == (5, False)
    assert Setting(5, "per tensor").layer(layer, *ends).options.per_channel_quant is False
    assert Setting(5, "asymmetric").layer(layer, *ends).options.symmetric_weights is False
    assert Setting(way="float32").layer(layer, *ends) is layer


def test_more_bits_less_noise():
    torch.manual_seed(0)
    layer, x = nn.Linear(40, 30), torch.randn(50, 40)
    with torch.no_grad():
        wanted = layer(x)
        ends = [(float(t.min()), float(t.max())) for t in (x, wanted)]
        noise = [float((Setting(bits).layer(layer, *ends)(x) - wanted).square().sum()) for bits in (4, 6, 8)]
    assert noise[0] > 8 * noise[1] > 64 * noise[2]  # theory: 16 each


def test_summary_tells_the_numbers():
    computed = layer_options.compute_layer_options(Book(), {"a": Setting(4), "b": Setting(way="float32")}, "a")
    assert computed.summary == (
        "at a: 80 of 100 images right, 90 in float32, 15 with another answer"
        " · SQNR behind a (4 bits, per channel) 24.0 dB, b (float32) no noise"
    )


def test_still_has_a_row_for_each_setting():
    book = Book()
    figure = layer_options.layer_options_still(book, LAYERS, [{}, {"second": (3, "truncating")}])
    assert isinstance(figure, Figure) and len(figure.axes) == 4
    assert [settings["second"] for settings in book.asked] == [Setting(), Setting(3, "truncating")]
    assert figure.get_label().count("80 of 100 images right") == 2


def test_every_layer_keeps_its_settings_and_every_control_changes_the_picture():
    book = Book()
    choice, bits, way, picture = layer_options.layer_options_demo(book, LAYERS).children
    assert isinstance(choice, ipywidgets.Dropdown) and isinstance(bits, ipywidgets.IntSlider)
    seen = [picture.value]
    for control, value in ((bits, 4), (choice, "second"), (way, "float32"), (choice, "first"), (way, "per tensor")):
        control.value = value
        seen.append(picture.value)
    assert len(set(seen)) == len(seen)
    assert len(book.asked) == len(seen) - 2  # moving to a layer measures nothing
    bits.value, bits.value = 5, 4
    assert picture.value == seen[-1]
    assert len(book.asked) == len(seen) - 1  # back to what was measured
    assert bits.value == 4
    assert book.asked[-2] == {"first": Setting(4, "per tensor"), "second": Setting(8, "float32"), "third": Setting()}


@pytest.mark.parametrize("error", [NotImplementedError("recreate"), ValueError("<no>")])
def test_what_the_student_raises_is_shown(error):
    def fails(settings):
        raise error

    *_, picture = layer_options.layer_options_demo(fails, LAYERS).children
    assert type(error).__name__ in picture.value and "<no>" not in picture.value
