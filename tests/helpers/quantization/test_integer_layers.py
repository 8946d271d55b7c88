"""The integer arithmetic against plain loops over Python's integers, and against exact rational numbers."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from course_utils.quantization import integer_layers as il


def loop_linear(x, x_zero, w, w_zero, bias):
    """Row by row over Python's integers, which never overflow."""
    out = []
    for row in x.tolist():
        for o, weights in enumerate(w.tolist()):
            terms = [(int(a) - x_zero) * (int(b) - w_zero[o]) for a, b in zip(row, weights, strict=True)]
            out.append(sum(terms) + (bias[o] if bias is not None else 0))
    return torch.tensor(out).reshape(len(x), len(w))


def loop_conv2d(x, x_zero, w, w_zero, bias, stride, padding, dilation, groups):
    """Every output element from its definition; what lies outside the image is the zero point."""
    batch, channels, height, width = x.shape
    outs, per_group, kh, kw = w.shape
    rows = (height + 2 * padding[0] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    columns = (width + 2 * padding[1] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    result = torch.zeros(batch, outs, rows, columns, dtype=torch.int64)
    for n, o, i, j in itertools.product(range(batch), range(outs), range(rows), range(columns)):
        total = bias[o] if bias is not None else 0
        for c, k, m in itertools.product(range(per_group), range(kh), range(kw)):
            r = i * stride[0] - padding[0] + k * dilation[0]
            s = j * stride[1] - padding[1] + m * dilation[1]
            channel = o // (outs // groups) * per_group + c
            code = int(x[n, channel, r, s]) if 0 <= r < height and 0 <= s < width else x_zero
            total += (code - x_zero) * (int(w[o, c, k, m]) - w_zero[o])
        result[n, o, i, j] = total
    assert channels == per_group * groups
    return result


@pytest.fixture
def g():
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
def test_linear_equals_loops(g, per_channel, with_bias):
    x, w = torch.randint(0, 256, (4, 50), generator=g), torch.randint(0, 256, (3, 50), generator=g)
    zeros = [17, 128, 255] if per_channel else [200] * 3
    bias = [-(2**31), 5, 2**31 - 1] if with_bias else None
    expected = loop_linear(x, 99, w, zeros, bias)
    got = il.integer_linear(
        x, 99, w, torch.tensor(zeros) if per_channel else 200, torch.tensor(bias) if with_bias else None
    )
    assert got.dtype == torch.int64
    assert torch.equal(got, expected)


def test_linear_takes_codes_of_any_dtype_and_leading_dimensions(g):
    x, w = torch.randint(0, 128, (2, 3, 7), generator=g), torch.randint(0, 128, (5, 7), generator=g)
    expected = il.integer_linear(x, 10, w, 20)
    assert expected.shape == (2, 3, 5)
    for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.float32, torch.float64):
        assert torch.equal(il.integer_linear(x.to(dtype), 10, w.to(dtype), 20), expected)


def test_sums_above_what_float32_holds_are_exact():
    x, w = torch.full((1, 4001), 255), torch.full((1, 4001), 255)
    assert il.integer_linear(x, 0, w, 0).item() == 4001 * 255 * 255  # odd, and above 2^24
    assert il.integer_linear(x.float(), 0, w.float(), 0).item() == 4001 * 255 * 255


def sums_just_below(limit, terms):
    """Codes of which ``terms`` products come near the limit, and the dtype that their sums then run in."""
    weight = math.isqrt(limit // terms)
    return (limit - 1) // (weight * terms), weight


@pytest.mark.filterwarnings("ignore:TF32 acceleration")
@pytest.mark.parametrize("mkldnn", [True, False], ids=["mkldnn", "no mkldnn"])  # Macs and others have none
@pytest.mark.parametrize("kernel", [1, 2, 3, 5, 8])
def test_sums_near_the_limits_of_float32_are_exact(g, kernel, mkldnn):
    """Against int64 convolution. 16 images: from there on NNPACK, where it is used, would transform the kernels."""
    terms = 4 * kernel * kernel
    for limit, dtype in ((2**24, torch.float32), (2**26, torch.float64)):
        top, weight = sums_just_below(limit, terms)
        x = torch.randint(-top, top + 1, (16, 4, 10, 10), generator=g)
        w = torch.randint(-weight, weight + 1, (5, 4, kernel, kernel), generator=g)
        x[:, :, :kernel, :kernel], w[0] = top, weight  # one sum right below the limit
        assert il._operands(x, 0, w, 0, None)[0].dtype == dtype
        expected = functional.conv2d(x, w)
        assert int(expected.max()) == terms * top * weight < limit
        with torch.backends.mkldnn.flags(enabled=mkldnn):
            assert torch.equal(il.integer_conv2d(x, 0, w, 0), expected)
            assert torch.equal(
                il.integer_linear(x[:, 0, 0], 0, w[:, 0, 0, :1].repeat(1, 10), 0),
                x[:, 0, 0] @ w[:, 0, 0, :1].repeat(1, 10).T,
            )


def test_large_codes_near_their_zero_point_are_exact():
    x = torch.tensor([[2**30 + 1, 2**30 - 3]])  # their sums are small, but float32 does not hold the codes
    assert il.integer_linear(x, 2**30, torch.tensor([[3, 5]]), 0).item() == 3 - 15


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int16, torch.uint16, torch.int32, torch.float64])
def test_codes_are_of_any_dtype(dtype):
    codes = torch.tensor([[127, 0, 100]]).to(dtype)
    assert il.integer_linear(codes, 128, torch.tensor([[3, 5, 7]]).to(dtype), 1).item() == -2 - 4 * 128 - 6 * 28


def test_float32_is_left_where_a_sum_could_reach_its_limit_or_torch_may_round_more():
    x, w, bias = torch.tensor([[255]]), torch.tensor([[255]]), torch.tensor([2**24 - 255 * 255 - 1])
    assert il._operands(x, 0, w, 0, bias)[0].dtype == torch.float32
    assert il._operands(x, 0, w, 0, bias + 1)[0].dtype == torch.float64
    assert il._operands(-x, 0, w, 0, -bias - 1)[0].dtype == torch.float64
    torch.set_float32_matmul_precision("medium")
    try:
        assert il._operands(x, 0, w, 0, bias)[0].dtype == torch.float64
    finally:
        torch.set_float32_matmul_precision("highest")


WAYS = [
    {},
    {"stride": (2, 1)},
    {"padding": (2, 1)},
    {"dilation": (1, 2)},
    {"groups": 2},
    {"groups": 4},
    {"stride": (2, 3), "padding": (1, 2), "dilation": (2, 1), "groups": 2},
]


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("kernel", [(3, 2), (1, 1)])
def test_convolution_equals_loops(g, way, kernel):
    full = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1} | way
    x = torch.randint(0, 256, (2, 4, 7, 6), generator=g)
    w = torch.randint(0, 256, (4, 4 // full["groups"], *kernel), generator=g)
    zeros, bias = [3, 250, 128, 0], [10**6, -(10**6), 0, 7]
    expected = loop_conv2d(x, 77, w, zeros, bias, **full)
    assert torch.equal(il.integer_conv2d(x, 77, w, torch.tensor(zeros), torch.tensor(bias), **way), expected)


def test_depthwise_with_one_zero_point_and_numbers_for_pairs(g):
    x, w = torch.randint(0, 256, (1, 3, 5, 5), generator=g), torch.randint(0, 256, (6, 1, 3, 3), generator=g)
    expected = loop_conv2d(x, 9, w, [100] * 6, None, (2, 2), (1, 1), (1, 1), 3)
    assert torch.equal(il.integer_conv2d(x, 9, w, 100, stride=2, padding=1, groups=3), expected)


def test_same_padding_pads_with_the_zero_point(g):
    x, w = torch.randint(0, 256, (1, 1, 4, 4), generator=g), torch.randint(0, 256, (1, 1, 3, 3), generator=g)
    assert torch.equal(
        il.integer_conv2d(x, 9, w, 100, padding="same"), loop_conv2d(x, 9, w, [100], None, (1, 1), (1, 1), (1, 1), 1)
    )


def test_empty_batches_pass():
    assert il.integer_linear(torch.zeros(0, 3), 0, torch.ones(2, 3), 0).shape == (0, 2)
    assert il.integer_conv2d(torch.zeros(0, 1, 4, 4), 0, torch.ones(2, 1, 3, 3), 0).shape == (0, 2, 2, 2)


def test_what_is_no_code_is_refused():
    w = torch.ones(1, 2)
    for bad in (torch.tensor([[0.5, 1.0]]), torch.tensor([[math.nan, 1.0]]), torch.tensor([[math.inf, 1.0]])):
        with pytest.raises(ValueError, match="codes must be"):
            il.integer_linear(bad, 0, w, 0)
    with pytest.raises(TypeError, match="whole numbers"):
        il.integer_linear(torch.tensor([[True, False]]), 0, w, 0)
    with pytest.raises(OverflowError, match="2\\^53"):
        il.integer_linear(torch.full((1, 2), 2**30), 0, torch.full((1, 2), 2**23), 0)


# --- the multiplier, against exact rational numbers ---


def check_multiplier(m):
    multiplier, shift = il.fixed_point_multiplier(m)
    assert type(multiplier) is int and type(shift) is int
    assert 0 <= shift <= 62
    exact = Fraction(m)
    assert abs(multiplier - exact * 2**shift) <= Fraction(1, 2)
    if shift < 62:
        assert 2**30 <= multiplier < 2**31
    else:
        assert 0 <= multiplier < 2**31


@given(st.floats(min_value=0, max_value=2.0**31, exclude_min=True, exclude_max=True))
@settings(max_examples=500, deadline=None)
def test_multiplier_is_the_nearest_one(m):
    if round(Fraction(m)) == 2**31:
        with pytest.raises(ValueError, match="below"):
            il.fixed_point_multiplier(m)
    else:
        check_multiplier(m)


def test_multiplier_at_powers_of_two_and_beside_them():
    for exponent in range(-80, 31):
        power = 2.0**exponent
        for m in (power, math.nextafter(power, 0), math.nextafter(power, 2 * power), power * (1 - 2.0**-31)):
            check_multiplier(m)
    assert il.fixed_point_multiplier(0.5) == (2**30, 31)
    assert il.fixed_point_multiplier(1.0) == (2**30, 30)
    assert il.fixed_point_multiplier(math.nextafter(1, 0)) == (2**30, 30)  # carried into the next binade
    assert il.fixed_point_multiplier(2.0**30) == (2**30, 0)
    assert il.fixed_point_multiplier(2.0**-70) == (0, 62)
    assert il.fixed_point_multiplier(5e-324) == (0, 62)


@pytest.mark.parametrize("bad", [0.0, -0.25, math.nan, math.inf, -math.inf, 2.0**31, 1e300, 2.0**31 - 2.0**-10])
def test_what_is_no_multiplier_is_refused(bad):
    with pytest.raises(ValueError, match="multiplier"):
        il.fixed_point_multiplier(bad)


# --- rescaling, against exact rational numbers ---

int32 = st.integers(-(2**31), 2**31 - 1)
pairs = st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 62))


@given(st.lists(int32, min_size=1, max_size=20), pairs)
@settings(max_examples=500, deadline=None)
def test_requantize_is_exact(values, pair):
    multiplier, shift = pair
    acc = torch.tensor(values)
    exact = [Fraction(v * multiplier, 2**shift) for v in values]
    nearest = [math.floor(e + Fraction(1, 2)) for e in exact]
    assert il.requantize(acc, multiplier, shift).tolist() == nearest
    assert il.requantize(acc, multiplier, shift, rounding=False).tolist() == [math.floor(e) for e in exact]
    assert il.requantize(acc.to(torch.int32), multiplier, shift).tolist() == nearest


def test_halves_go_up_and_dropping_bits_goes_down():
    acc = torch.arange(-5, 6)
    assert il.requantize(acc, 2**30, 31).tolist() == [-2, -2, -1, -1, 0, 0, 1, 1, 2, 2, 3]
    assert il.requantize(acc, 2**30, 31, rounding=False).tolist() == [-3, -2, -2, -1, -1, 0, 0, 1, 1, 2, 2]


def test_one_pair_per_channel(g):
    acc = torch.randint(-(2**31), 2**31, (2, 3, 4), generator=g)
    multiplier, shift = torch.tensor([2**30, 2**31 - 1, 12345]), torch.tensor([31, 0, 62])
    got = il.requantize(acc, multiplier.view(3, 1), shift.view(3, 1))
    for c in range(3):
        assert torch.equal(got[:, c], il.requantize(acc[:, c], int(multiplier[c]), int(shift[c])))


@pytest.mark.parametrize("pair", [(2**31, 31), (-1, 31), (1, -1), (1, 63)])
def test_pairs_out_of_range_are_refused(pair):
    with pytest.raises(ValueError, match="multiplier"):
        il.requantize(torch.tensor([1]), *pair)


def test_accumulators_out_of_range_are_refused():
    for bad in (2**31, -(2**31) - 1):
        with pytest.raises(ValueError, match="codes must be in"):
            il.requantize(torch.tensor([bad]), 2**30, 31)


def c_division(a, b):
    return abs(a) // b * (1 if a >= 0 else -1)


def gemmlowp(acc, multiplier, shift):
    """SaturatingRoundingDoublingHighMul and RoundingDivideByPOT, statement by statement."""
    product = acc * multiplier
    high = c_division(product + (2**30 if product >= 0 else 1 - 2**30), 2**31)
    exponent = shift - 31
    mask = 2**exponent - 1
    threshold = mask // 2 + (1 if high < 0 else 0)
    return (high >> exponent) + (1 if (high & mask) > threshold else 0)


@given(st.lists(int32, min_size=1, max_size=20), st.integers(2**30, 2**31 - 1), st.integers(31, 62))
@settings(max_examples=300, deadline=None)
def test_rounding_twice_is_gemmlowps(values, multiplier, shift):
    got = il.requantize_twice(torch.tensor(values), multiplier, shift)
    assert got.tolist() == [gemmlowp(v, multiplier, shift) for v in values]
    once = il.requantize(torch.tensor(values), multiplier, shift)
    assert (got - once).abs().max() <= 1


@given(st.lists(int32, min_size=1, max_size=20), st.integers(0, 30), st.integers(2**30, 2**31 - 1))
@settings(max_examples=200, deadline=None)
def test_rounding_twice_shifts_up_first_for_m_of_1_and_more(values, shift, multiplier):
    values = [v >> (31 - shift) for v in values]
    got = il.requantize_twice(torch.tensor(values), multiplier, shift)
    assert got.tolist() == [gemmlowp(v << (31 - shift), multiplier, 31) for v in values]


def test_rounding_twice_takes_a_pair_for_each_channel():
    acc = torch.tensor([[-6, 7, 100], [2, -3, -(2**31)]])
    multiplier, shift = torch.tensor([2**30, 2**31 - 1, 2**30 + 12345]), torch.tensor([32, 30, 40])
    got = il.requantize_twice(acc, multiplier, shift)
    for c in range(3):
        alone = il.requantize_twice(acc[:, c], int(multiplier[c]), int(shift[c]))
        assert got[:, c].tolist() == alone.tolist()
    assert acc[0].tolist() == [-6, 7, 100], "the accumulators are not changed"


def test_rounding_twice_sends_halves_away_from_zero():
    assert il.requantize_twice(torch.tensor([-6, -2, 2, 6]), 2**30, 32).tolist() == [-2, -1, 1, 2]
    assert il.requantize(torch.tensor([-6, -2, 2, 6]), 2**30, 32).tolist() == [-1, 0, 1, 2]


def test_rounding_twice_refuses():
    with pytest.raises(ValueError, match="62"):
        il.requantize_twice(torch.tensor([1]), 2**30, 63)
    assert il.requantize_twice(torch.tensor([2**30 - 1, -(2**30)]), 2**30, 30).tolist() == [2**30 - 1, -(2**30)]
    for value in (2**30, -(2**30) - 1):
        with pytest.raises(OverflowError, match="32 bits"):
            il.requantize_twice(torch.tensor([value]), 2**30, 30)


# --- whole layers ---


def random_layer(kind, g):
    if kind == "linear":
        layer, x = nn.Linear(40, 6), torch.randn(5, 40, generator=g)
    elif kind == "conv":
        layer, x = nn.Conv2d(4, 6, (3, 2), stride=2, padding=(1, 2)), torch.randn(2, 4, 8, 7, generator=g)
    else:
        layer, x = (
            nn.Conv2d(4, 8, 3, dilation=2, groups=4, bias=False, padding="same"),
            torch.rand(2, 4, 9, 9, generator=g),
        )
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.randn(p.shape, generator=g) * 0.3)
    return layer, x


def grid(x, levels):
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    scale = (high - low) / levels
    return scale, round(-low / scale)


@pytest.mark.parametrize("kind", ["linear", "conv", "depthwise"])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("num_bits", [4, 8])
def test_layer_equals_its_formula_in_float64(kind, per_channel, symmetric, num_bits, g):
    """The same layer of the dequantized codes: exact enough in float64 to know every code but ties."""
    layer, x = random_layer(kind, g)
    levels = 2**num_bits - 1
    out = layer(x).detach()
    (sx, zx), (so, zo) = grid(x, levels), grid(out, levels)
    codes = torch.clamp(torch.round(x / sx) + zx, 0, levels)
    quantized = il.QuantizedLayer(layer, num_bits, per_channel=per_channel, symmetric=symmetric)
    got = quantized.run_quantized_layer(codes, sx, zx, so, zo)

    shape = (-1, *[1] * (layer.weight.dim() - 1)) if per_channel else ()
    scale = torch.as_tensor(quantized.weight_scalefactor, dtype=torch.float64).reshape(shape)
    zero = torch.as_tensor(quantized.weight_zeropoint).reshape(shape)
    weight = (quantized.weight_q - zero) * scale
    assert float((weight - layer.weight.detach()).abs().max() / scale.max()) <= 0.5 + 1e-4
    twin = torch.nn.utils.skip_init(type(layer), *init_of(layer)[0], **init_of(layer)[1]).double()
    with torch.no_grad():
        twin.weight.copy_(weight)
        if layer.bias is not None:
            step = sx * scale.flatten()
            twin.bias.copy_(torch.round(layer.bias.double() / step) * step)
        real = twin((codes.double() - zx) * sx) / so + zo
    assert got.dtype == torch.float32 and got.shape == out.shape
    assert torch.equal(got, got.round().clamp(0, levels))
    # the multiplier's 31 bits move a result by less than 2^-20 steps of 16 bits or fewer
    assert float((got - real.clamp(0, levels)).abs().max()) <= 0.5 + 2**-20
    if num_bits == 8:
        error = (got - zo) * so - out
        assert error.square().mean() < 1e-3 * out.square().mean()


def init_of(layer):
    if isinstance(layer, nn.Linear):
        return (layer.in_features, layer.out_features), {"bias": layer.bias is not None}
    names = ("stride", "padding", "dilation", "groups")
    ways = {n: getattr(layer, n) for n in names} | {"bias": layer.bias is not None}
    return (layer.in_channels, layer.out_channels, layer.kernel_size), ways


def test_truncation_moves_codes_down_by_at_most_one(g):
    layer, x = random_layer("linear", g)
    (sx, zx), (so, zo) = grid(x, 255), grid(layer(x).detach(), 255)
    codes = torch.clamp(torch.round(x / sx) + zx, 0, 255)
    near = il.QuantizedLayer(layer).run_quantized_layer(codes, sx, zx, so, zo)
    down = il.QuantizedLayer(layer, rounding=False).run_quantized_layer(codes, sx, zx, so, zo)
    assert set((near - down).unique().tolist()) == {0.0, 1.0}


def test_padding_is_exactly_zero_whatever_the_zero_point():
    layer = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    x = torch.full((1, 1, 3, 3), 40.0)  # the code of 0 everywhere, inside and in the padding
    out = il.QuantizedLayer(layer).run_quantized_layer(x, 0.1, 40, 0.1, 7)
    assert torch.equal(out, torch.full((1, 1, 3, 3), 7.0))


def test_bias_saturates_at_32_bits():
    assert il.quantize_bias(torch.tensor([1.0, -1.0, 0.25]), 0.1).tolist() == [10, -10, 2]
    assert il.quantize_bias(torch.tensor([1.0, -1.0]), 1e-20).tolist() == [2**31 - 1, -(2**31)]


def test_sums_beyond_32_bits_are_refused():
    layer = nn.Linear(40_000, 1, bias=False)
    nn.init.ones_(layer.weight)
    with pytest.raises(OverflowError, match="32 bits"):
        il.QuantizedLayer(layer).run_quantized_layer(torch.full((1, 40_000), 255.0), 0.1, 0, 1.0, 0)


def test_layers_that_cannot_be_quantized_are_refused():
    with pytest.raises(TypeError, match="ReLU"):
        il.QuantizedLayer(nn.ReLU())
    with pytest.raises(ValueError, match="reflect"):
        il.QuantizedLayer(nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"))
    with pytest.raises(ValueError, match="codes must be in"):
        il.QuantizedLayer(nn.Linear(1, 1)).run_quantized_layer(torch.tensor([[256.0]]), 0.1, 0, 1.0, 0)


def test_the_layer_is_not_changed(g):
    layer, x = random_layer("conv", g)
    before = {k: v.clone() for k, v in layer.state_dict().items()}
    il.QuantizedLayer(layer, 2).run_quantized_layer(torch.zeros_like(x), 0.1, 0, 0.1, 0)
    assert all(torch.equal(v, before[k]) for k, v in layer.state_dict().items())
