"""Every kernel against TFLite's definitions in Python's integers (`tflite_by_hand`), and what each refuses."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import tflite_by_hand as by_hand
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.quantization import tflite_kernels as tk

ACTIVATIONS = ["NONE", "RELU", "RELU6", "RELU_N1_TO_1"]

dtypes = st.sampled_from(["int8", "uint8"])
scales = st.floats(2.0**-12, 4.0)
small = st.integers(1, 3)


@st.composite
def grids(draw, dtype, scale=scales):
    return draw(scale), draw(st.integers(*by_hand.RANGES[dtype])), dtype


def grid(triple) -> tk.Grid:
    scale, zero_point, dtype = triple
    return tk.Grid(scale, zero_point, getattr(torch, dtype))


def codes(rng, dtype, *shape):
    low, high = by_hand.RANGES[dtype]
    return rng.integers(low, high + 1, shape).astype(dtype)


def seeded(draw):
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1)))


def same(got: torch.Tensor, expected: np.ndarray) -> None:
    assert got.dtype == getattr(torch, str(expected.dtype))
    np.testing.assert_array_equal(got.numpy(), expected)


def layer(draw, rng, dtype, outs, terms):
    """What layers with weights share. The output's scale lies where codes neither vanish nor all saturate."""
    count = outs if dtype == "int8" and draw(st.booleans()) else 1
    weight_scales = [draw(st.floats(2.0**-10, 2.0**-2)) for _ in range(count)]
    x_grid = draw(grids(dtype))
    spread = x_grid[0] * max(weight_scales) * 128 * terms**0.5
    y_grid = draw(grids(dtype, st.floats(0.05 * spread, 2 * spread)))
    bias = rng.integers(-3000, 3000, outs).astype(np.int32) if draw(st.booleans()) else None
    zero = 0 if dtype == "int8" else draw(st.integers(0, 255))
    return weight_scales, zero, bias, x_grid, y_grid, draw(st.sampled_from(ACTIVATIONS))


def tensor(array):
    return None if array is None else torch.from_numpy(array)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_convolutions(data):
    draw = data.draw
    rng, dtype, depthwise = seeded(draw), draw(dtypes), draw(st.integers(0, 2))
    channels, outs = draw(small), draw(small)
    kernel, stride, dilation = ((draw(small), draw(small)) for _ in range(3))
    padding = draw(st.sampled_from(["SAME", "VALID"]))
    height, width = (draw(st.integers((k - 1) * d + 1, 8)) for k, d in zip(kernel, dilation, strict=True))
    outs = channels * depthwise if depthwise else outs
    weight = codes(rng, dtype, *((1, *kernel, outs) if depthwise else (outs, *kernel, channels)))
    weight_scales, zero, bias, x_grid, y_grid, activation = layer(draw, rng, dtype, outs, kernel[0] * kernel[1] * 3)
    x = codes(rng, dtype, 2, height, width, channels)
    ways = {"stride": stride, "padding": padding, "dilation": dilation, "activation": activation}
    arguments = (tensor(weight), torch.tensor(weight_scales), tensor(bias), grid(x_grid), grid(y_grid))
    if depthwise:
        ours = tk.DepthwiseConvolution(*arguments, weight_zero_point=zero, in_channels=channels, **ways)
    else:
        ours = tk.Convolution(*arguments, weight_zero_point=zero, **ways)
    expected = by_hand.convolution(x, weight, weight_scales, zero, bias, x_grid, y_grid, **ways, depthwise=depthwise)
    same(ours(torch.from_numpy(x)), expected)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_fully_connected(data):
    draw = data.draw
    rng, dtype, outs, terms = seeded(draw), draw(dtypes), draw(small), draw(st.integers(1, 40))
    weight_scales, zero, bias, x_grid, y_grid, activation = layer(draw, rng, dtype, outs, terms)
    weight, x = codes(rng, dtype, outs, terms), codes(rng, dtype, 3, terms)
    arguments = (tensor(weight), torch.tensor(weight_scales), tensor(bias), grid(x_grid), grid(y_grid))
    ours = tk.FullyConnected(*arguments, weight_zero_point=zero, activation=activation)
    expected = by_hand.fully_connected(x, weight, weight_scales, zero, bias, x_grid, y_grid, activation)
    same(ours(torch.from_numpy(x)), expected)
    same(ours(torch.from_numpy(x).reshape(3, 1, 1, terms)), expected)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_add_also_with_very_different_scales(data):
    draw = data.draw
    rng, dtype = seeded(draw), draw(dtypes)
    first, second = draw(grids(dtype, st.floats(2.0**-36, 4.0))), draw(grids(dtype, scales))
    made = draw(grids(dtype, st.floats(0.25, 4.0).map(lambda f: f * max(first[0], second[0]))))
    activation = draw(st.sampled_from(ACTIVATIONS))
    x, y = codes(rng, dtype, 4, 30), codes(rng, dtype, 4, 30)
    ours = tk.Add(grid(first), grid(second), grid(made), activation)
    same(ours(torch.from_numpy(x), torch.from_numpy(y)), by_hand.add(x, y, first, second, made, activation))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_average_pool(data):
    draw = data.draw
    rng, dtype = seeded(draw), draw(dtypes)
    window, stride = (draw(st.integers(1, 4)), draw(st.integers(1, 4))), (draw(small), draw(small))
    padding, activation = draw(st.sampled_from(["SAME", "VALID"])), draw(st.sampled_from(ACTIVATIONS))
    x = codes(rng, dtype, 2, draw(st.integers(window[0], 7)), draw(st.integers(window[1], 7)), 3)
    of = draw(grids(dtype))
    ours = tk.AveragePool(grid(of), window, stride, padding, activation)
    same(ours(torch.from_numpy(x)), by_hand.average_pool(x, of, window, stride, padding, activation))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_mean_also_of_negative_sums(data):
    draw = data.draw
    rng, dtype = seeded(draw), draw(dtypes)
    x = codes(rng, dtype, 2, draw(st.integers(1, 9)), draw(st.integers(1, 9)), 20)
    x_grid, made = draw(grids(dtype)), draw(grids(dtype))
    ours = tk.Mean(grid(x_grid), grid(made), (1, 2), x.shape[1] * x.shape[2])
    same(ours(torch.from_numpy(x)), by_hand.mean(x, x_grid, made))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_requantize(data):
    draw = data.draw
    given_type, made_type = draw(dtypes), draw(dtypes)
    x_grid, made = draw(grids(given_type)), draw(grids(made_type))
    low, high = by_hand.RANGES[given_type]
    x = np.arange(low, high + 1).astype(given_type)
    same(tk.Requantize(grid(x_grid), grid(made))(torch.from_numpy(x)), by_hand.requantize(x, x_grid, made))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_softmax(data):
    draw = data.draw
    rng, dtype, made = seeded(draw), draw(dtypes), draw(dtypes)
    x_grid = draw(grids(dtype, st.floats(2.0**-10, 8.0)))
    beta = draw(st.sampled_from([1.0, 0.5, 3.0]))
    x = codes(rng, dtype, 3, draw(st.integers(1, 30)))
    if draw(st.booleans()):  # as it is in a network: a few large ones
        x[:, 1:] //= 3
    ours = tk.Softmax(grid(x_grid), grid((1 / 256, by_hand.RANGES[made][0], made)), beta)
    same(ours(torch.from_numpy(x)), by_hand.softmax(x, x_grid, made, beta))


def test_softmax_is_near_the_real_one():
    x = torch.arange(-128, 128, dtype=torch.int8).reshape(4, 64)
    of = tk.Grid(0.06, -10, torch.int8)
    got = tk.Softmax(of, tk.Grid(1 / 256, -128, torch.int8))(x)
    real = torch.softmax(of.real(x).double(), -1) * 256 - 128
    # half a code by the last rounding; the fixed point in front of it has 19 bits behind the point at the coarsest
    assert (got.double() - real.clamp(max=127)).abs().max() <= 0.5 + 2.0**-8


@settings(deadline=None, max_examples=60)
@given(st.floats(2.0**-40, 2.0**20, exclude_max=True))
def test_multipliers(m):
    multiplier, shift = tk.quantized_multiplier(m)
    expected, exponent = by_hand.quantize_multiplier(m)
    assert multiplier == expected and (multiplier == 0 or shift == 31 - exponent)


def test_multipliers_at_the_edges():
    assert tk.quantized_multiplier(1.0) == (2**30, 30)
    assert tk.quantized_multiplier(1 - 2.0**-40) == (2**30, 30)
    assert tk.quantized_multiplier((2**30 + 0.5) * 2.0**-31) == (2**30 + 1, 31), "halves away from zero, not to even"
    assert tk.quantized_multiplier(2.0**-32) == (2**30, 62)
    assert tk.quantized_multiplier(2.0**-32 * (1 - 2.0**-20)) == (0, 31)
    for m in (0.0, -1.0, float("nan"), float("inf"), 2.0**31):
        with pytest.raises(ValueError, match="multiplier"):
            tk.quantized_multiplier(m)


@pytest.mark.parametrize("side", range(1, 9))
@pytest.mark.parametrize("window", range(1, 5))
@pytest.mark.parametrize("stride", range(1, 4))
def test_same_padding_is_tflites(side, window, stride):
    before, after = tk.same_padding(side, window, stride)
    out, expected = by_hand.sides(side, window, stride, 1, "SAME")
    assert before == expected and 0 <= after - before <= 1
    assert (side + before + after - window) // stride + 1 == out or window < stride


# --- the way there ---


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_weights_become_codes_as_the_converter_makes_them(data):
    draw = data.draw
    rng, axis = seeded(draw), draw(st.integers(0, 3))
    w = (rng.standard_normal((3, 4, 2, 5)) * draw(st.floats(2.0**-20, 2.0**10))).astype(np.float32)
    got, scales = tk.quantize_weights(torch.from_numpy(w), axis)
    for channel in range(w.shape[axis]):
        part = w.take(channel, axis)
        largest = np.abs(part).max()
        assert scales[channel].item() == largest / np.float32(127)
        inverse = np.float32(127) / largest
        for place in np.ndindex(part.shape):
            product = Fraction(float(part[place] * inverse))
            expected = (1 if product >= 0 else -1) * (abs(product) + Fraction(1, 2)).__floor__()
            assert got.numpy().take(channel, axis)[place] == min(max(expected, -127), 127)


def test_halves_go_away_from_zero_and_a_channel_of_zeros_is_defined():
    codes, scales = tk.quantize_weights(torch.tensor([[127, 0.5, -0.5, 1.5, 0.49999997], [0, 0, 0, 0, 0]]))
    assert codes.tolist() == [[127, 1, -1, 2, 0], [0] * 5] and scales.tolist() == [1, 1]


# --- exact sums ---

WIDE = tk.Grid(1.0, -128, torch.int8)  # inputs 0 .. 255 after the zero point is taken off
ONE = tk.Grid(1.0, 0, torch.int8)


@pytest.mark.parametrize(("terms", "dtype"), [(1280, torch.float64), (518, torch.float32)])
def test_sums_are_exact_to_the_last_bit_on_both_sides_of_2_to_the_24(terms, dtype):
    weight = torch.full((1, 1, 1, terms), 127, dtype=torch.int8)
    x = torch.full((1, 1, 1, terms), 127, dtype=torch.int8)
    x[..., :3] = torch.tensor([-127, 13, 101])
    total = int(((x.long() + 128) * 127).sum())
    assert (total > 2**24) == (dtype == torch.float64)
    layer = tk.Convolution(weight, 1.0, torch.tensor([5 - total], dtype=torch.int32), WIDE, ONE)
    assert layer.dtype == dtype
    assert layer(x).item() == 5


def test_partial_sums_far_from_the_total_are_exact_in_float32():
    g = torch.Generator().manual_seed(1)
    weight = torch.randint(-127, 128, (16, 1, 1, 1000), generator=g, dtype=torch.int8).sort(-1).values
    x = torch.randint(-128, 128, (16, 1, 1, 1000), generator=g, dtype=torch.int8)
    exact = (x.long().reshape(16, 1000) + 128) @ weight.long().reshape(16, 1000).T
    layer = tk.Convolution(weight, 1.0, -exact.diagonal().int(), WIDE, ONE)
    assert layer.dtype == torch.float32 and layer.bound > 2**23
    assert layer(x).reshape(16, 16).diagonal().tolist() == [0] * 16


def test_sums_stay_exact_when_float32_may_have_fewer_bits():
    weight = torch.full((1, 1, 1, 518), 127, dtype=torch.int8)
    x = torch.full((1, 1, 1, 518), 127, dtype=torch.int8)
    layer = tk.Convolution(weight, 1.0, torch.tensor([3 - 518 * 127 * 255], dtype=torch.int32), WIDE, ONE)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        assert layer.operands(x)[0].dtype == torch.float64
        assert layer(x).item() == 3
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_sum_beyond_32_bits_is_refused():
    weight, bias = torch.ones(1, 1, 1, 2, dtype=torch.int8), torch.tensor([2**31 - 100], dtype=torch.int32)
    few, many = torch.full((1, 1, 1, 2), -100, dtype=torch.int8), torch.full((1, 1, 1, 2), 100, dtype=torch.int8)
    two = tk.Grid(2.0, 0, torch.int8)  # a multiplier of 1/2 is the largest that moves nothing up
    layer = tk.Convolution(weight, 1.0, bias, WIDE, two)
    assert layer(few).item() == 127
    with pytest.raises(OverflowError, match="32 bits"):
        layer(many)
    layer = tk.Convolution(weight, 2.0**23, None, WIDE, two)  # one of 2^22 moves the sum up by 23 bits
    assert layer(few).item() == 127
    with pytest.raises(OverflowError, match="32 bits"):
        layer(many)


def test_an_input_is_not_changed():
    x = torch.arange(-64, 64, dtype=torch.int8).reshape(2, 4, 4, 4)
    before = x.clone()
    of, other = tk.Grid(0.1, 3, torch.int8), tk.Grid(0.3, -5, torch.int8)
    tk.Requantize(of, other)(x)
    tk.Add(of, of, other)(x, x)
    tk.Mean(of, other, (1, 2), 16)(x)
    tk.AveragePool(of, (2, 2), (2, 2))(x)
    tk.Softmax(of, tk.Grid(1 / 256, -128, torch.int8))(x)
    assert torch.equal(x, before)


# --- refusals ---

WEIGHT, OF = torch.zeros(2, 3, 3, 4, dtype=torch.int8), tk.Grid(0.5, 0, torch.int8)

REFUSED = {
    "scale is 0": (ValueError, "positive", lambda: tk.Grid(0.0, 0, torch.int8)),
    "scale is NaN": (ValueError, "positive", lambda: tk.Grid(float("nan"), 0, torch.int8)),
    "scale vanishes in float32": (ValueError, "positive", lambda: tk.Grid(1e-50, 0, torch.int8)),
    "zero point": (ValueError, "128 is outside", lambda: tk.Grid(1.0, 128, torch.int8)),
    "dtype": (TypeError, "int8 or uint8", lambda: tk.Grid(1.0, 0, torch.int16)),
    "activation": (ValueError, "TANH", lambda: tk.Convolution(WEIGHT, 1.0, None, OF, OF, activation="TANH")),
    "padding": (ValueError, "EXPLICIT", lambda: tk.Convolution(WEIGHT, 1.0, None, OF, OF, padding="EXPLICIT")),
    "weights": (TypeError, "float32", lambda: tk.Convolution(WEIGHT.float(), 1.0, None, OF, OF)),
    "weight zero": (ValueError, "zero point 0", lambda: tk.Convolution(WEIGHT, 1, None, OF, OF, weight_zero_point=1)),
    "weight scales": (ValueError, "1 or 2 positive", lambda: tk.Convolution(WEIGHT, torch.ones(3), None, OF, OF)),
    "bias": (ValueError, "int32", lambda: tk.Convolution(WEIGHT, 1.0, torch.zeros(2), OF, OF)),
    "depthwise": (ValueError, "do not fit", lambda: tk.DepthwiseConvolution(WEIGHT, 1.0, None, OF, OF, in_channels=3)),
    "add": (ValueError, "too small", lambda: tk.Add(OF, OF, tk.Grid(2.0**-21, 0, torch.int8))),
    "softmax": (ValueError, "1 / 256", lambda: tk.Softmax(OF, OF)),
    "softmax beta": (ValueError, "beta", lambda: tk.Softmax(OF, tk.Grid(1 / 256, -128, torch.int8), 1e-9)),
    "weights to quantize": (TypeError, "float64", lambda: tk.quantize_weights(torch.zeros(2, 2).double())),
    "NaN": (ValueError, "NaN", lambda: tk.quantize_weights(torch.full((2, 2), float("nan")))),
    "codes": (TypeError, "uint8", lambda: tk.Requantize(OF, OF)(torch.zeros(1, dtype=torch.uint8))),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_refusals(what):
    kind, message, call = REFUSED[what]
    with pytest.raises(kind, match=message):
        call()
