"""The bit toggler against struct, numpy and ml_dtypes; its view without a browser."""

from __future__ import annotations

import math
import struct

import ipywidgets as widgets
import ml_dtypes
import numpy as np
import pytest
from matplotlib.figure import Figure

from course_utils.demos import bit_toggler
from course_utils.demos.bit_toggler import PRESETS, compute_bits, nearest_code

EIGHT_BITS = {(5, 2): ml_dtypes.float8_e5m2, (4, 3): ml_dtypes.float8_e4m3, (3, 4): ml_dtypes.float8_e3m4}


def same(a: float, b: float) -> bool:
    return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))


@pytest.mark.parametrize("split", EIGHT_BITS)
def test_every_code_of_eight_bits(split):
    values = np.arange(256, dtype=np.uint8).view(EIGHT_BITS[split]).astype(float)
    for code, value in enumerate(values.tolist()):
        bits = compute_bits(code, *split)
        assert same(bits.value, value), code
        assert (bits.kind == "NaN") == math.isnan(value)
        assert (bits.kind == "infinity") == math.isinf(value)
        assert (bits.kind == "zero") == (value == 0)
        if math.isfinite(value) and math.isfinite(following := abs(float(values[code + 1]))):
            assert bits.step == following - abs(value)


def test_float32_against_struct():
    for code in [*np.random.default_rng(0).integers(0, 2**32, 300).tolist(), 0, 2**31, 1, 2**23 - 1, 2**23]:
        bits = compute_bits(code)
        assert same(bits.value, struct.unpack(">f", struct.pack(">I", code))[0])
        assert (bits.sign, bits.exponent, bits.fraction) == (code >> 31, code >> 23 & 255, code & (2**23 - 1))
        assert int(bits.text.replace(" ", ""), 2) == code


def test_worked_example():
    bits = compute_bits(nearest_code(0.15625, 8, 23))
    assert bits.text == "0 01111100 01000000000000000000000"
    assert (bits.name, bits.kind, bits.bias) == ("float32", "normal", 127)
    assert "2^-3" in bits.formula
    assert "next number" in bits.summary


@pytest.mark.parametrize(("split", "dtype"), [((5, 10), np.float16), ((8, 7), ml_dtypes.bfloat16), *EIGHT_BITS.items()])
def test_nearest_code_is_the_cast(split, dtype):
    values = np.random.default_rng(1).normal(size=200) * 4.0 ** np.random.default_rng(2).integers(-8, 8, 200)
    values = np.concatenate([values.astype(np.float32), [0.0, -0.0, np.inf, -np.inf, 1e30]]).astype(np.float32)
    with np.errstate(over="ignore"):
        expected = values.astype(dtype)
    expected = expected.view(np.uint8 if expected.itemsize == 1 else np.uint16)
    assert [nearest_code(float(v), *split) for v in values] == expected.tolist()


@pytest.mark.parametrize("arguments", [(-1, 4, 3), (256, 4, 3), (0, 9, 3), (0, 0, 3), (0, 4, 24)])
def test_no_such_pattern(arguments):
    with pytest.raises(ValueError):
        compute_bits(*arguments)


@pytest.mark.parametrize("value", [0.0, -0.0, math.inf, -math.inf, math.nan, 2.0**-149])
def test_special_values_have_words(value):
    bits = compute_bits(nearest_code(value, 8, 23))
    assert same(bits.value, value)
    assert bits.kind in bits.summary


def test_still_shows_bits_and_meaning():
    figure = bit_toggler.bit_toggler_still([(0.15625, "float32"), (-10.5, "e4m3")])
    first, second = figure.axes
    digits = {x: line.get_marker().strip("$") for line in first.lines for x in line.get_xdata()}
    assert "".join(digits[n + 0.5] for n in range(32)) == "00111110001000000000000000000000"
    texts = [t.get_text() for t in first.texts]
    assert "float32: +(1 + 2097152/8388608) · 2^-3 = 0.15625" in texts
    assert "exponent\n124 - 127 = -3" in texts
    assert "sign\n1: -" in [t.get_text() for t in second.texts]


def test_columns():
    axes = Figure().add_subplot()
    bit_toggler.draw_columns(axes, [("a", 0.9375), ("b", 1.28125), ("sum", 2.21875)], places=6, line_above=2)
    digits = [t.get_text() for t in axes.texts if t.get_text() in ("0", "1")]
    assert ["".join(digits[n : n + 8]) for n in (0, 8, 16)] == ["00111100", "01010010", "10001110"]


class Demo:
    """The demo with its controls by name."""

    def __init__(self, *arguments, **options):
        self.box = bit_toggler.bit_toggler_demo(*arguments, **options)
        presets, sliders, row, bits, self.picture = self.box.children
        self.presets = {b.description: b for b in presets.children}
        self.exponent, self.mantissa = sliders.children
        self.typed, self.flip, self.down, self.up = row.children
        self.bits = bits.children

    @property
    def text(self) -> str:
        return self.picture.value

    @property
    def pattern(self) -> str:
        return "".join(b.description for b in self.bits if b.layout.display != "none")


def test_a_click_flips_a_bit():
    demo = Demo()
    before = demo.text
    assert demo.pattern == "00111110001000000000000000000000"
    demo.bits[8].click()  # the exponent's last bit: twice the value
    assert demo.pattern == "00111110101000000000000000000000"
    assert "= 0.3125" in demo.text
    assert demo.text != before
    demo.flip.click()
    assert "= -0.3125" in demo.text
    demo.up.click()
    assert demo.pattern == "10111110101000000000000000000001"
    demo.down.click()
    assert "= -0.3125" in demo.text


def test_sliders_and_presets_choose_the_format_and_keep_the_value():
    demo = Demo()
    for name, (e, m) in PRESETS.items():
        demo.presets[name].click()
        assert (demo.exponent.value, demo.mantissa.value) == (e, m)
        assert len(demo.pattern) == 1 + e + m
        assert "= 0.15625" in demo.text
    demo.typed.value = 3.97
    assert "e3m4, normal" in demo.text and "= 4 ·" in demo.text
    for slider in (demo.exponent, demo.mantissa):
        before = demo.text
        slider.value += 1
        assert demo.text != before
    demo.presets["float32"].click()
    assert "= 3.97" in demo.text


@pytest.mark.parametrize("e", [1, 3, 8])
@pytest.mark.parametrize("m", [1, 23])
def test_every_format_can_be_shown(e, m):
    demo = Demo(exponent_bits=e, mantissa_bits=m)
    demo.up.click()
    assert len(demo.pattern) == 1 + e + m


def test_asks_the_students_function():
    asked = []
    demo = Demo(lambda *fields: asked.append(fields) or 0.15625)
    assert asked == [(0, 124, 2097152)]
    assert "the same" in demo.text and "not the same" not in demo.text
    demo.bits[0].click()
    assert "not the same" in demo.text
    asked.clear()
    demo.presets["float16"].click()
    assert asked == []


def test_a_students_error_is_shown():
    def stub(*_):
        raise NotImplementedError("float32_value")

    demo = Demo(stub)
    assert "raised NotImplementedError: float32_value" in demo.text
    demo.bits[5].click()
    assert "<img" in demo.text


def test_keyboard_and_screen_reader():
    demo = Demo()
    assert all(isinstance(b, widgets.Button) for b in demo.bits)  # Tab and space bar
    assert demo.bits[0].tooltip == "bit 31, sign"
    assert demo.bits[31].tooltip == "bit 0, fraction"
    assert 'alt="float32, normal' in demo.text
