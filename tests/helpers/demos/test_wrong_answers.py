"""What the demos say of functions that are not written yet, or wrong: never a traceback, never a picture of nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from course_utils import demos
from course_utils.demos.layer_options import Measured

VALUES = torch.randn(500, generator=torch.Generator().manual_seed(0))
TWO = {"a": VALUES, "b": 2 * VALUES}


def stub(*_):
    raise NotImplementedError("the function <b>")


def nothing(*_):
    return None


def nan(x, *_):
    return torch.full_like(x, math.nan)


def shorter(x, *_):
    return x[:-1]


def clip(x, m):
    return x.clamp(-m, m)


def scale(largest, num_bits):
    return (2 ** (num_bits - 1) - 1) / largest


def codes(x, q, num_bits):
    return (x * q).round()


def centroids(x, count, init):
    return torch.linspace(-1, 1, count, dtype=x.dtype)


def nearest(x, c):
    return (x[:, None] - c).abs().argmin(1)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 10)).eval()


def layer(f):
    class Layer:
        def __init__(self, made_from, num_bits):
            self.like = made_from

        def run_quantized_layer(self, q, *_):
            return f(torch.zeros(20, 2, 6, 6) if isinstance(self.like, nn.Conv2d) else torch.zeros(20, 10))

    return Layer


IMAGES = torch.randn(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))

DEMOS = {
    "staircase": lambda f: demos.staircase_demo(lambda x, *_: (x, 1.0, 0), f, VALUES),
    "layer_error": lambda f: demos.layer_error_demo(layer(f), demos.record_layers(network(), IMAGES)),
    "clipping": lambda f: demos.clipping_demo(demos.Tools(f, scale, codes), TWO),
    "clipping, codes": lambda f: demos.clipping_demo(demos.Tools(clip, scale, f), TWO),
    "binary_point": lambda f: demos.binary_point_demo(demos.PointTools(f, lambda *_: 2, lambda *_: 3), TWO),
    "bits_and_accuracy": lambda f: demos.bits_and_accuracy_demo(
        demos.BitsAndAccuracy(network(), IMAGES, torch.zeros(20, dtype=torch.long), f)
    ),
    "split": lambda f: demos.split_demo(TWO, f),
    "codebook, first": lambda f: demos.codebook_demo(
        TWO, lambda *asked: f(centroids(*asked)), lambda x, c: (nearest(x, c), c)
    ),
    "codebook, codes": lambda f: demos.codebook_demo(TWO, centroids, lambda x, c: (f(x, c), c)),
    "codebook, moved": lambda f: demos.codebook_demo(TWO, centroids, lambda x, c: (nearest(x, c), f(c))),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("wrong", [stub, nothing, nan, shorter], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", DEMOS)
def test_a_wrong_function_is_told_in_the_pictures_place(name, wrong):
    *_, picture = DEMOS[name](wrong).children
    assert "<img" not in picture.value
    told = {
        stub: ("<b>NotImplementedError</b>: the function &lt;b&gt;", "Raised in stub, line "),
        nothing: (" returned None, not a tensor", "cannot be shown"),
        nan: (" returned NaN or infinity for ", "cannot be shown"),
        shorter: (" returned a tensor of shape ", "cannot be shown"),
    }[wrong]
    assert all(words in picture.value for words in told), picture.value


def test_the_controls_stay_alive():
    wrong = {"now": True}

    def convert(x, word_length, exponent_bits):
        return nan(x) if wrong["now"] else x.round()

    *_, bits, picture = demos.split_demo(TWO, convert).children
    assert "convert returned NaN" in picture.value
    wrong["now"] = False
    bits.value += 1
    assert "<img" in picture.value


@pytest.mark.parametrize("wrong", [0.0, math.nan, math.inf, -1.0])
def test_a_scale_that_is_none_is_told(wrong):
    *_, picture = demos.staircase_demo(lambda x, *_: (x, wrong, 0), lambda q, *_: q, VALUES).children
    assert "scalefactor is" in picture.value and "<img" not in picture.value
    *_, picture = demos.clipping_demo(demos.Tools(clip, lambda *_: wrong, codes), TWO).children
    assert "the scale for a largest magnitude of" in picture.value and "<img" not in picture.value


def test_a_ratio_that_is_none_is_told():
    *_, picture = demos.layer_options_demo(lambda s: Measured(dict.fromkeys(s, math.nan), 1, 1, 0, 2), ["a"]).children
    assert "NaN" in picture.value and "no signal" not in picture.value
    *_, picture = demos.layer_options_demo(lambda s: Measured(dict.fromkeys(s), 1, 1, 0, 2), ["a"]).children
    assert "<b>TypeError</b>" in picture.value and "<img" not in picture.value


def test_what_an_infinite_ratio_meant_stays():
    *_, picture = demos.split_demo(TWO, lambda x, *_: x).children
    assert "inf dB" in picture.value and "<img" in picture.value
