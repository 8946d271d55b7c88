"""Whole-number layers against exact arithmetic of Python's whole numbers and fractions."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from course_utils.numerics import FloatFormat
from course_utils.profiler import IntegerAdd, IntegerAveragePool, IntegerLayer, Options
from course_utils.profiler.layers import ActivationGrid, FormatLayer


def rounded(value: Fraction, *, nearest: bool) -> int:
    """Halves up, or down always."""
    return int((value + Fraction(1, 2) if nearest else value) // 1)


def exact_sums(layer: IntegerLayer, codes: torch.Tensor) -> torch.Tensor:
    """The same sums over int64, position by position."""
    x = codes.long() - layer.input.zero_point
    w = layer.weight_q - layer.weight_zero_point.view(-1, *[1] * (layer.weight_q.dim() - 1))
    if layer.ways is None:
        sums = (x[..., None, :] * w).sum(-1)
    else:
        (sy, sx), (py, px), (dy, dx) = (layer.ways[n] for n in ("stride", "padding", "dilation"))
        groups, (out, per, kh, kw) = layer.ways["groups"], w.shape
        x = nn.functional.pad(x, (px, px, py, py))
        height, width = (x.shape[2] - dy * (kh - 1) - 1) // sy + 1, (x.shape[3] - dx * (kw - 1) - 1) // sx + 1
        sums = torch.zeros(len(x), out, height, width, dtype=torch.int64)
        for o in range(out):
            first = o // (out // groups) * per
            for i in range(height):
                for j in range(width):
                    piece = x[:, first : first + per, i * sy :: dy, j * sx :: dx][:, :, :kh, :kw]
                    sums[:, o, i, j] = (piece * w[o]).sum((1, 2, 3))
    bias = 0 if layer.bias_q is None else layer.bias_q if layer.ways is None else layer.bias_q.view(-1, 1, 1)
    return sums + bias


def check_against_fractions(layer: IntegerLayer, x: torch.Tensor) -> None:
    codes = layer.input.codes(x)
    sums = exact_sums(layer, codes)
    assert torch.equal(layer.accumulate(codes.long()), sums)
    got = layer(x)
    channel = 1 if layer.ways is not None else -1
    numbers = sums.movedim(channel, 0).flatten(1)
    values = got.movedim(channel, 0).flatten(1)
    for o, (row, came) in enumerate(zip(numbers.tolist(), values.tolist(), strict=True)):
        factor = Fraction(int(layer.multiplier[o]), 1 << int(layer.shift[o]))
        for acc, value in zip(row, came, strict=True):
            code = rounded(acc * factor, nearest=layer.rounding) + layer.output.zero_point
            code = min(max(code, layer.output.lowest), layer.output.highest)
            assert value == torch.tensor(code - layer.output.zero_point).float() * layer.output.scale
        # the multiplier stands for the real quotient of scales to 2^-30, or as many bits as a wide one has
        real = Fraction(layer.input.scale) * Fraction(float(layer.weight_scale[o])) / Fraction(layer.output.scale)
        assert abs(factor - real) <= real / max(int(layer.multiplier[o]), 1)


LAYERS = {
    "conv": lambda: nn.Conv2d(3, 4, 3, padding=1),
    "strided": lambda: nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(0, 1), dilation=(1, 2), bias=False),
    "depthwise": lambda: nn.Conv2d(4, 4, 3, groups=4, padding=1),
    "groups": lambda: nn.Conv2d(4, 6, 3, groups=2),
    "linear": lambda: nn.Linear(7, 5),
    "linear without bias": lambda: nn.Linear(7, 5, bias=False),
}


@pytest.mark.parametrize(
    "options",
    [
        Options(),
        Options(rounding_div=False),
        Options(per_channel_quant=False),
        Options(symmetric_weights=False),
        Options(num_bits=2),
        Options(num_bits=16),
        Options(num_bits=12, rounding_div=False),
        Options(weight_bits=4),
        Options(num_bits=4, weight_bits=16),
        Options(adjustment="scale_shift"),
        Options(adjustment="scale_shift", num_bits=16),
        Options(adjustment="power_of_two"),
        Options(adjustment="power_of_two", num_bits=16),
        Options(adjustment="power_of_two", num_bits=4, per_channel_quant=False, symmetric_weights=False),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_equals_exact_arithmetic(name: str, options: Options):
    torch.manual_seed(1)
    layer = LAYERS[name]()
    channels = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
    x = torch.randn(2, channels) if isinstance(layer, nn.Linear) else torch.randn(2, channels, 6, 5)
    with torch.no_grad():
        y = layer(x)
    low, high = float(y.min()), float(y.max())
    integer = IntegerLayer(layer, (float(x.min()), float(x.max())), (low, high), options)
    check_against_fractions(integer, x)
    if options.adjustment == "power_of_two":  # a shift alone, and it stands for the quotient of scales exactly
        assert set(integer.multiplier.tolist()) == {1}
        real = integer.input.scale * integer.weight_scale / integer.output.scale
        assert torch.allclose(real, 2.0 ** -integer.shift.double(), rtol=2.0**-50, atol=0)
        ranges = (float(x.min()), float(x.max())), (low, high)
        widest = IntegerLayer(layer, *ranges, replace(options, adjustment="fixed_point"))
        assert bool((integer.weight_scale < 2.001 * widest.weight_scale).all())  # at most one bit of the weights
        assert bool((integer.weight_scale > 0.999 * widest.weight_scale).all())
    if options.adjustment == "scale_shift":
        assert bool((integer.multiplier < 2**options.num_bits).all())
    if options.num_bits == 16 and options.rounding_div:  # and it computes the layer
        assert (integer(x) - y).abs().max() < 1e-3 * (high - low)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 16), st.integers(2, 16), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.booleans())
def test_any_bits_and_ranges(bits: int, weight_bits: int, of_input: float, of_output: float, rounding: bool):
    torch.manual_seed(bits)
    layer = nn.Linear(5, 3)
    options = Options(num_bits=bits, weight_bits=weight_bits, rounding_div=rounding)
    integer = IntegerLayer(layer, (-of_input, 0.3 * of_input), (-0.2 * of_output, of_output), options)
    check_against_fractions(integer, torch.randn(4, 5) * of_input)


def test_a_grid_that_ends_at_0_and_6_is_a_relu6():
    layer = nn.Linear(1, 1, bias=False)
    nn.init.ones_(layer.weight)
    integer = IntegerLayer(layer, (-10.0, 10.0), (0.0, 6.0), Options())
    x = torch.linspace(-10, 10, 801)[:, None]
    step_in, step_out = integer.input.scale, integer.output.scale
    assert (integer(x) - x.clamp(0, 6)).abs().max() <= step_in / 2 + step_out / 2 + 1e-5
    assert integer(x).min() == 0
    assert float(integer(x).max()) == pytest.approx(6, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(*[st.tuples(st.floats(-100, 0), st.floats(0.01, 100)) for _ in range(3)], st.integers(2, 16), st.booleans())
def test_an_addition_equals_exact_arithmetic(first, second, total, bits: int, rounding: bool):
    layer = IntegerAdd((first, second), total, Options(num_bits=bits, rounding_div=rounding))
    x, y = torch.linspace(*first, 9), torch.linspace(*second, 9).flip(0)
    codes = [grid.codes(v).tolist() for grid, v in zip(layer.inputs, (x, y), strict=True)]
    for value, *pair in zip(layer(x, y).tolist(), *codes, strict=True):
        exact = sum(
            (code - grid.zero_point) * Fraction(multiplier, 1 << layer.shift)
            for code, grid, multiplier in zip(pair, layer.inputs, layer.multipliers, strict=True)
        )
        code = min(
            max(rounded(exact, nearest=rounding) + layer.output.zero_point, layer.output.lowest), layer.output.highest
        )
        assert value == torch.tensor(code - layer.output.zero_point).float() * layer.output.scale
    for grid, multiplier in zip(layer.inputs, layer.multipliers, strict=True):
        real = Fraction(grid.scale) / Fraction(layer.output.scale)
        assert abs(Fraction(multiplier, 1 << layer.shift) - real) <= Fraction(1, 1 << layer.shift)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("rounding", [True, False])
def test_an_average_equals_exact_arithmetic(keep: bool, rounding: bool):
    layer = IntegerAveragePool((-1.0, 3.0), Options(rounding_div=rounding), keep=keep)
    x = torch.rand(5, 4, 7, 6) * 4 - 1
    codes = layer.input.codes(x).long().flatten(2)
    got = layer(x)
    assert got.shape == ((5, 4, 1, 1) if keep else (5, 4))
    for value, row in zip(got.flatten().tolist(), codes.flatten(0, 1).tolist(), strict=True):
        code = rounded(Fraction(sum(row), len(row)), nearest=rounding)
        assert value == torch.tensor(code - layer.input.zero_point).float() * layer.input.scale


def test_values_of_codes_are_codes_again():
    for bits in range(2, 17):
        grid = ActivationGrid((-1.7, 3.1), bits)
        codes = torch.arange(grid.lowest, grid.highest + 1)
        assert torch.equal(grid.codes(grid.values(codes - grid.zero_point)).long(), codes)


def test_sums_that_leave_32_bits_are_refused():
    layer = nn.Linear(200_000, 1, bias=False)
    nn.init.ones_(layer.weight)
    integer = IntegerLayer(layer, (0.0, 1.0), (0.0, 200_000.0), Options())
    with pytest.raises(OverflowError, match="32 bits"):
        integer(torch.ones(1, 200_000))


@pytest.mark.parametrize("options", [Options(), Options(symmetric_weights=False), Options(num_bits=16)])
def test_a_channel_of_practically_no_weights_gives_its_bias(options: Options):
    """As in published networks: with the step that its weights ask for, the bias would have more than 32 bits."""
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 2, 1)
    with torch.no_grad():
        layer.weight[0] *= 1e-9
        layer.bias.copy_(torch.tensor([2.5, 0.3]))
    made = IntegerLayer(layer, (-1.0, 1.0), (-3.0, 3.0), options)
    x = torch.rand(2, 3, 4, 4) * 2 - 1
    check_against_fractions(made, x)
    # half a step of the output, and what half a step of inputs and weights adds up to
    assert (made(x) - layer(x)).abs().max() < made.output.scale / 2 + 3 * (made.input.scale + made.weight_scale.max())
    floats = nn.Conv2d(3, 2, 1, bias=False)
    floats.weight = layer.weight
    assert made.weight_scale[1] == IntegerLayer(floats, (-1.0, 1.0), (-3.0, 3.0), options).weight_scale[1]


def test_a_format_layer_quantizes_what_goes_in_what_it_holds_and_what_comes_out():
    torch.manual_seed(0)
    float_format, layer = FloatFormat(4, 3), nn.Linear(6, 3)
    before = layer.weight.detach().clone()
    made, x = FormatLayer(layer, float_format), torch.randn(5, 6)
    weight = float_format.quantize(before)
    expected = float_format.quantize(nn.functional.linear(float_format.quantize(x), weight, layer.bias))
    assert torch.equal(made(x), expected.detach())
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"num_bits": 1}, ValueError),
        ({"num_bits": 17}, ValueError),
        ({"weight_bits": 0}, ValueError),
        ({"num_bits": 8.0}, TypeError),
        ({"num_bits": True}, TypeError),
        ({"merge_relu": 1}, TypeError),
        ({"adjustment": "float"}, ValueError),
    ],
)
def test_wrong_options_are_named(wrong: dict, error: type):
    with pytest.raises(error, match=next(iter(wrong))):
        Options(**wrong)


def test_padding_that_is_not_zeros_is_refused():
    with pytest.raises(ValueError, match="reflect"):
        IntegerLayer(nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), (0.0, 1.0), (0.0, 1.0), Options())
