"""Number formats: what holds for every format and every number, searched by hypothesis; and stochastic rounding."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from course_utils.numerics import affine
from course_utils.numerics.formats import FORMATS, FixedPoint, FloatFormat
from course_utils.numerics.rounding import round_

repeatable = settings(max_examples=200, deadline=None, derandomize=True)
DETERMINISTIC = ("nearest-even", "nearest-away", "toward-zero")


@st.composite
def float_formats(draw) -> FloatFormat:
    e, m = draw(st.integers(1, 8)), draw(st.integers(0, 23))
    specials, subnormals = draw(st.sampled_from(["ieee", "fn", "none"])), draw(st.booleans())
    assume(not (e == 8 and specials != "ieee") and not (e == 1 and (m == 0 or not subnormals)))
    return FloatFormat(e, m, specials=specials, subnormals=subnormals)


@st.composite
def fixed_points(draw) -> FixedPoint:
    signed, bits, fraction_bits = draw(st.booleans()), draw(st.integers(2, 24)), draw(st.integers(-8, 24))
    return FixedPoint(bits - fraction_bits, fraction_bits, signed)


any_format = st.one_of(float_formats(), fixed_points())
numbers = st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20).map(torch.tensor)
near_one = st.lists(st.floats(-32, 32, width=32), min_size=1, max_size=20).map(torch.tensor)
inputs = st.one_of(numbers, near_one)
roundings = st.sampled_from(DETERMINISTIC)


@repeatable
@given(any_format, inputs, roundings)
def test_idempotent(f, x, rounding):
    y = f.quantize(x, rounding)
    for again in (*DETERMINISTIC, "stochastic"):
        assert torch.equal(f.quantize(y, again), y)


@repeatable
@given(any_format, inputs, roundings)
def test_monotone(f, x, rounding):
    y = f.quantize(x.sort().values, rounding)
    assert (y[1:] >= y[:-1]).all()


@repeatable
@given(float_formats(), inputs, roundings)
def test_odd(f, x, rounding):
    there, back = f.quantize(x, rounding), f.quantize(-x, rounding)
    assert torch.equal(there.view(torch.int32), (-back).view(torch.int32))


@repeatable
@given(any_format, inputs, roundings)
def test_encode_decode_is_quantize(f, x, rounding):
    y = f.quantize(x, rounding)
    assert torch.equal(f.decode(f.encode(x, rounding)).view(torch.int32), y.view(torch.int32))


@repeatable
@given(float_formats(), inputs)
def test_error_is_at_most_half_a_step(f, x):
    """Half of 2^(floor(log2 |x|) - m), but not less than half of the smallest value; a whole smallest normal value
    where subnormals are flushed. Up to the largest value, that is."""
    x = x[x.abs() <= f.largest].double()
    y = f.quantize(x)
    step = torch.tensor([2.0 ** (math.frexp(abs(v))[1] - 1 - f.mantissa_bits) for v in x.tolist()]).double()
    bound = step.clamp(min=2.0 ** (f.min_exponent - f.mantissa_bits)) / 2
    if not f.subnormals:
        bound[x.abs() < f.smallest_normal] = f.smallest_normal
    assert ((y - x).abs() <= bound).all()
    toward_zero = f.quantize(x, "toward-zero")
    assert (toward_zero.abs() <= x.abs()).all()
    assert ((toward_zero - x).abs() <= 2 * bound).all()


@repeatable
@given(fixed_points(), inputs)
def test_fixed_point_error_is_at_most_half_a_step(f, x):
    x = x[(x >= f.lowest) & (x <= f.largest)].double()
    assert ((f.quantize(x) - x).abs() <= f.step / 2).all()


@repeatable
@given(inputs, st.floats(-32, 0, width=32), st.floats(0, 32, width=32), st.integers(2, 16), st.booleans())
def test_affine_error_is_at_most_half_a_scale(x, low, high, num_bits, signed):
    scale, zero_point = affine.scale_and_zero_point(low, high, num_bits, signed=signed)
    quant_min, quant_max = affine.quant_range(num_bits, signed)
    x = x[((quant_min - zero_point) * scale <= x) & (x <= (quant_max - zero_point) * scale)].double()
    y = affine.fake_quantize(x, scale, zero_point, num_bits=num_bits, signed=signed)
    # In float64, because in float32 the quotient itself is rounded; that costs one unit in its last place.
    half = scale.double() / 2
    assert ((y - x).abs() <= half + x.abs() * 2**-52).all()
    assert torch.equal(affine.fake_quantize(y, scale, zero_point, num_bits=num_bits, signed=signed), y)
    assert affine.fake_quantize(torch.zeros(1), scale, zero_point, num_bits=num_bits, signed=signed) == 0


@repeatable
@given(float_formats(), inputs)
def test_all_roundings_take_one_of_the_two_neighbours(f, x):
    x = x[x.abs() <= f.largest]
    assume(f.subnormals)
    below, y = f.quantize(x, "toward-zero"), f.quantize(x, "stochastic")
    assert ((y == below) | (y.abs() > x.abs())).all()
    for rounding in ("nearest-even", "nearest-away"):
        nearest = f.quantize(x, rounding)
        assert ((nearest - x).abs() <= (y - x).abs()).all()


# Stochastic rounding. The seed is fixed; the bound is five standard deviations of the mean, which chance exceeds once
# in 1.7 million runs.


@pytest.mark.parametrize("fraction", [0.0, 2.0**-10, 0.1, 0.25, 0.5, 0.9, 1 - 2.0**-10])
@pytest.mark.parametrize("f", [FORMATS["e4m3"], FORMATS["e2m1"], FORMATS["bfloat16"], FixedPoint(4, 4)], ids=str)
def test_stochastic_rounding_is_unbiased(f, fraction):
    """Between 1 and its neighbour, above and below zero, and between 0 and the smallest value."""
    n = 2**16
    above_one = float(2.0**-f.mantissa_bits if isinstance(f, FloatFormat) else f.step)
    generator = torch.Generator().manual_seed(int(1e6 * fraction))
    for low, step in ((1.0, above_one), (-1.0, -above_one), (0.0, f.smallest)):
        exact = low + fraction * step
        y = f.quantize(torch.full((n,), exact, dtype=torch.float64), "stochastic", generator=generator)
        chose_far = (y - low) / step
        assert ((chose_far == 0) | (chose_far == 1)).all()
        deviation = math.sqrt(fraction * (1 - fraction) / n)
        assert abs(float(chose_far.mean()) - fraction) <= 5 * deviation


def test_stochastic_rounding_is_unbiased_over_a_tensor():
    """The errors of a million different numbers, each at most a step and of mean zero, add up to nearly nothing."""
    generator = torch.Generator().manual_seed(5)
    x = torch.rand(2**20, generator=generator) + 1  # the step of e4m3 is 1/8 between 1 and 2
    error = (FORMATS["e4m3"].quantize(x, "stochastic", generator=generator) - x).double()
    chance = x.double() * 8 % 1
    deviation = math.sqrt(float((chance * (1 - chance)).sum())) / 8
    assert abs(float(error.sum())) <= 5 * deviation


def test_stochastic_rounding_follows_its_generator():
    x = torch.randn(1000, generator=torch.Generator().manual_seed(6))
    once, again, other = (
        FORMATS["e4m3"].quantize(x, "stochastic", generator=torch.Generator().manual_seed(s)) for s in (7, 7, 8)
    )
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_stochastic_rounding_overflows_by_chance():
    """Between 57344 and 65536 in e5m2, which is where infinity stands."""
    y = FORMATS["e5m2"].quantize(torch.full((1000,), 60000.0), "stochastic", "infinity")
    assert set(y.tolist()) == {57344.0, math.inf}
    assert set(FORMATS["e5m2"].quantize(torch.full((1000,), 60000.0), "stochastic").tolist()) == {57344.0}


# Whole numbers.


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_whole_numbers(dtype):
    eps = torch.finfo(dtype).eps
    below_half, large = 0.5 - eps / 4, 1 / eps - 1  # the largest odd number, beside which there are no fractions
    q = torch.tensor([0.5, 1.5, 2.5, below_half, 0.5 + eps / 2, large, large / 2, math.inf, -0.0], dtype=dtype)
    q = torch.cat([q, -q])

    def rounded(rounding: str) -> list[float]:
        return round_(q.clone(), rounding).tolist()[: len(q) // 2]

    assert rounded("nearest-even") == [0, 2, 2, 0, 1, large, (large + 1) / 2 - (large / 2 % 2 == 0.5), math.inf, 0]
    assert rounded("nearest-away") == [1, 2, 3, 0, 1, large, (large + 1) / 2, math.inf, 0]
    assert rounded("toward-zero") == [0, 1, 2, 0, 0, large, (large - 1) / 2, math.inf, 0]
    for rounding in (*DETERMINISTIC, "stochastic"):
        assert round_(torch.tensor([math.nan, -0.0, -0.0], dtype=dtype), rounding).signbit()[1:].all()
        assert round_(torch.tensor([math.nan], dtype=dtype), rounding).isnan()
    with pytest.raises(ValueError, match="nearest-even"):
        round_(q, "floor")


def test_a_draw_equal_to_the_fraction_does_not_go_up(monkeypatch):
    """Else whole numbers, whose fraction is 0, would move when the draw is 0."""
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, 0.25))
    q = torch.tensor([1.25, -1.25, 1.25 + 2.0**-23, 1.0])
    assert round_(q, "stochastic").tolist() == [1.0, -1.0, 2.0, 1.0]
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.zeros(shape))
    assert round_(torch.tensor([0.0, 3.0, -7.0]), "stochastic").tolist() == [0.0, 3.0, -7.0]
