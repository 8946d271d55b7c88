"""Number systems of Ristretto, against lists of all their values and the formats of `numerics`."""

from __future__ import annotations

import math

import pytest
import torch

from course_utils.numerics import DynamicFixedPoint, FixedPoint
from course_utils.ristretto import (
    PowersOfTwo,
    exponent_bits_by_rule,
    fixed_point_for,
    least_error_format,
    minifloat,
    powers_of_two_for,
)


def drawn(seed: int, count: int = 2000) -> torch.Tensor:
    """Numbers over many binades, float64."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(count, generator=g, dtype=torch.float64) * 2 ** (torch.rand(count, generator=g) * 12 - 8)


@pytest.mark.parametrize(("lowest", "highest"), [(-8, -1), (-3, -3), (-2, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_power_of_two_is_nearer(lowest, highest, dtype):
    powers = [2.0**k for k in range(lowest, highest + 1)]
    values = torch.tensor([0.0, *powers, *(-p for p in powers)], dtype=torch.float64)
    x = torch.cat([drawn(0), values]).to(dtype)
    rounded = PowersOfTwo(lowest, highest).quantize(x)
    assert rounded.dtype == dtype
    assert torch.isin(rounded.double(), values).all()
    error = (rounded.double() - x.double()).abs()
    assert torch.equal(error, (values - x.double()[:, None]).abs().amin(1))


def test_the_border_is_three_quarters_and_ties_go_away_from_zero():
    form = PowersOfTwo(-3, 1)
    below = 1 - 2.0**-24
    x = torch.tensor([0.75, 0.75 * below, 1.5, -1.5, 1 / 16, below / 16, 0.0, -0.0, -1e-9, 100.0, -math.inf, math.nan])
    expected = torch.tensor([1.0, 0.5, 2.0, -2.0, 1 / 8, 0.0, 0.0, 0.0, 0.0, 2.0, -2.0, math.nan])
    rounded = form.quantize(x)
    assert torch.equal(rounded.nan_to_num(7), expected.nan_to_num(7))
    assert not rounded[~rounded.isnan() & (rounded == 0)].signbit().any()
    assert x[2] == 1.5  # not changed


def test_stochastic_rounding_is_right_on_average():
    g = torch.Generator().manual_seed(0)
    form, count = PowersOfTwo(-3, 0), 40_000
    for x in (0.05, 0.2, -0.6, 0.9):
        rounded = form.quantize(torch.full((count,), x, dtype=torch.float64), "stochastic", generator=g)
        neighbours = rounded.unique()
        assert len(neighbours) == 2
        gap = float(neighbours[1] - neighbours[0])
        assert abs(float(rounded.mean()) - x) < 5 * gap / 2 / math.sqrt(count)  # 5 of at most gap / 2 a draw


def test_signs_and_exponents_are_those_of_the_values():
    form = PowersOfTwo(-5, 2)
    values = form.quantize(drawn(1))
    signs, exponents = form.exponents(values)
    assert torch.equal(signs * 2.0 ** exponents.double(), values)
    assert (exponents[values == 0] == -5).all()


@pytest.mark.parametrize("exponents", [(2, 1), (-127, 0), (0, 128)])
def test_exponents_that_cannot_be_are_refused(exponents):
    with pytest.raises(ValueError, match="exponents should rise"):
        PowersOfTwo(*exponents)


@pytest.mark.parametrize(
    ("largest", "bits", "expected"),
    [(0.6, 4, (-7, -1)), (0.75, 4, (-6, 0)), (0.7499, 3, (-3, -1)), (5.0, 2, (2, 2)), (0.0, 4, (-6, 0))],
)
def test_exponents_hang_from_the_largest_weight(largest, bits, expected):
    assert powers_of_two_for(largest, bits) == PowersOfTwo(*expected)
    with pytest.raises(ValueError, match="at least 2 bits"):
        powers_of_two_for(largest, 1)


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_fixed_point_is_that_of_dynamic_fixed_point(bits):
    for seed in range(20):
        x = drawn(seed, 50)
        chosen = fixed_point_for(float(x.abs().max()), bits)
        assert chosen == DynamicFixedPoint(bits).format_for(x)
        spared = fixed_point_for(float(x.abs().max()), bits, spared=2)
        assert (spared.bits, spared.largest) == (bits, chosen.largest / 4)


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_no_fixed_point_format_has_a_smaller_error(bits):
    for seed in range(10):
        x = drawn(seed, 300)
        chosen = least_error_format(x.float(), bits)
        x = x.float().double()

        def error(form: FixedPoint, x=x) -> float:
            return float(((form.quantize(x) - x) ** 2).sum())

        every = [FixedPoint(bits - fraction, fraction) for fraction in range(-30, 40)]
        assert error(chosen) == min(map(error, every))


def test_least_error_of_small_and_of_no_numbers():
    assert least_error_format(torch.tensor([1e-38]), 4).fraction_bits <= 126
    for x in (torch.empty(0), torch.tensor([math.inf])):
        with pytest.raises(ValueError, match="finite numbers, at least one"):
            least_error_format(x, 4)


# by hand: 1500 = 2^10.55, so log2(9.55) + 1 = 4.26; 2^9 and 2^17 are the last of 4 and 5 bits
@pytest.mark.parametrize(
    ("largest", "bits"), [(0.0, 4), (1.0, 4), (30.0, 4), (512.0, 4), (513.0, 5), (1500.0, 5), (2.0**17, 5), (2e5, 6)]
)
def test_exponent_bits_by_the_rule(largest, bits):
    assert exponent_bits_by_rule(largest) == bits


def test_all_codes_of_a_minifloat_are_numbers():
    form = minifloat(8, 4)
    assert len(form.values()) == 2**8 - 1  # zero has two
    assert form.largest == (2 - 1 / 8) * 2.0 ** (15 - 7)
    assert minifloat(8, 4, subnormals=False).smallest == 2.0**-6
    with pytest.raises(ValueError, match="4 bits with 4 for the exponent leave none for the mantissa"):
        minifloat(4, 4)
