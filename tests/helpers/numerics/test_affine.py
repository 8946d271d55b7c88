"""Integer quantization: ranges, scales, the integers, against the definition in exact arithmetic and against torch."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from course_utils.numerics import chunks
from course_utils.numerics.affine import (
    dequantize,
    fake_quantize,
    mse,
    quant_range,
    quantize,
    scale_and_zero_point,
    sqnr_db,
    value_range,
)

INF, NAN = math.inf, math.nan
GRANULARITIES = [{}, {"axis": 0}, {"axis": 1}, {"axis": -1}, {"block_size": 4}, {"block_size": 12}, {"block_size": 1}]


@pytest.fixture(params=["eager", "compiled"])
def loop(request, monkeypatch) -> str:
    """Runs a test with torch's own operations, and again with the compiled loop from the first element on."""
    monkeypatch.setattr(chunks, "COMPILED_FROM", 0 if request.param == "compiled" else 2**60)
    return request.param


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# Ranges and scales.


def test_quant_range():
    assert quant_range() == (0, 255)
    assert quant_range(8, signed=True) == (-128, 127)
    assert (quant_range(1), quant_range(2, True), quant_range(16)) == ((0, 1), (-2, 1), (0, 65535))
    for num_bits, signed in ((0, False), (1, True), (17, False)):
        with pytest.raises(ValueError, match="num_bits"):
            quant_range(num_bits, signed)


def test_value_range():
    x = normal(3, 5, 24)
    assert [v.item() for v in value_range(x)] == [x.min(), x.max()]
    low, high = value_range(x, axis=1)
    assert torch.equal(low, x.amin((0, 2)))
    assert torch.equal(high, x.amax((0, 2)))
    low, high = value_range(x, block_size=8)
    assert low.shape == (3, 5, 3)
    assert torch.equal(low, x.view(3, 5, 3, 8).amin(-1))
    assert torch.equal(value_range(x.mT, axis=2)[1], x.amax((0, 2)))
    assert value_range(torch.tensor([1.0, NAN]))[0].isnan()
    with pytest.raises(ValueError, match="empty"):
        value_range(torch.ones(0, 3))


def test_scale_and_zero_point_on_paper():
    scale, zero_point = scale_and_zero_point(-1.0, 4.1)
    assert scale == torch.tensor(5.1 / 255)
    assert zero_point == 50
    assert scale_and_zero_point(-1.0, 4.1, signed=True)[1] == 50 - 128
    assert scale_and_zero_point(0.0, 15.0, 4) == (1.0, 0)
    assert scale_and_zero_point(3.0, 15.0, 4) == (1.0, 0), "the range is widened to contain 0"
    assert scale_and_zero_point(-15.0, -3.0, 4) == (1.0, 15)
    assert scale_and_zero_point(-2.0, 127.0, signed=True, symmetric=True) == (1.0, 0)
    scale, zero_point = scale_and_zero_point(torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 0.0]))
    assert zero_point.tolist() == [128, 0], "127.5 is halfway, whatever float32 makes of 2 / 255"
    assert scale.dtype == torch.float32
    assert zero_point.dtype == torch.int32
    assert scale.tolist() == [torch.tensor(2 / 255).item(), 1.0], "a range of nothing but 0 gets scale 1"


@pytest.mark.parametrize("num_bits", range(2, 17))
def test_the_zero_point_is_rounded_once_halves_to_even(num_bits):
    levels = 2**num_bits - 1
    for low, high in [(-1, 1), (-3, 3), (-0.1, 0.1), (-1, 2), (-5, 1.5), (-(2.0**-110), 2.0**-110)]:
        low, high = (float(np.float32(v)) for v in (low, high))
        exact = -Fraction(low) * levels / (Fraction(high) - Fraction(low))
        assert scale_and_zero_point(low, high, num_bits)[1] == round(exact)


@pytest.mark.parametrize("low, high", [(-3e38, 3e38), (0.0, 1e-45), (-1e-40, 1e-40), (1e38, 3e38)])
def test_ranges_at_the_ends_of_float32(low, high, loop):
    scale, zero_point = scale_and_zero_point(low, high)
    assert scale.isfinite()
    assert scale > 0
    x = torch.tensor([low, high, 0.0])
    assert ((fake_quantize(x, scale, zero_point) - x).abs().double() <= scale.double()).all()


@pytest.mark.parametrize("low, high", [(1.0, -1.0), (NAN, 1.0), (0.0, INF), (-INF, 0.0)])
def test_no_scale_for_such_a_range(low, high):
    with pytest.raises(ValueError, match="finite, with minimum <= maximum"):
        scale_and_zero_point(low, high)


def test_symmetric_needs_signed():
    with pytest.raises(ValueError, match="signed"):
        scale_and_zero_point(-1.0, 1.0, symmetric=True)


# The integers.


def by_definition(x: float, scale: float, zero_point: int, low: int, high: int) -> int:
    """round(x / scale) + zero_point with fractions, ties to even; but x / scale is float32's, as in the text."""
    quotient = float(np.float32(x) / np.float32(scale))
    return min(max(round(Fraction(quotient)) + zero_point, low), high)


@pytest.mark.parametrize("num_bits, signed", [(1, False), (2, True), (8, False), (8, True), (16, True), (16, False)])
def test_the_definition(num_bits, signed, loop):
    low, high = quant_range(num_bits, signed)
    scale, zero_point = scale_and_zero_point(-1.5, 2.5, num_bits, signed=signed)
    ties = (torch.arange(-40, 40) + 0.5) * scale
    x = torch.cat([normal(500), ties, torch.nextafter(ties, torch.tensor(9.0)), torch.tensor([0.0, -0.0, 1e30, -1e30])])
    expected = [by_definition(v, float(scale), int(zero_point), low, high) for v in x.tolist()]
    q = quantize(x, scale, zero_point, num_bits=num_bits, signed=signed)
    assert q.tolist() == expected
    assert q.dtype == {1: torch.uint8, 2: torch.int8, 8: torch.int8 if signed else torch.uint8}.get(
        num_bits, torch.int16 if signed else torch.int32
    )
    values = (torch.tensor(expected) - zero_point) * scale
    assert torch.equal(dequantize(q, scale, zero_point), values)
    assert torch.equal(fake_quantize(x, scale, zero_point, num_bits=num_bits, signed=signed), values)


@pytest.mark.parametrize("signed, symmetric", [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("where", GRANULARITIES, ids=str)
def test_granularities_are_the_same_as_one_by_one(where, signed, symmetric, loop):
    x = normal(4, 5, 24) * torch.logspace(-2, 2, 24)
    low, high = value_range(x, **where)
    scale, zero_point = scale_and_zero_point(low, high, 8, signed=signed, symmetric=symmetric)
    y = fake_quantize(x, scale, zero_point, signed=signed, **where)
    q = quantize(x, scale, zero_point, signed=signed, **where)
    assert torch.equal(dequantize(q, scale, zero_point, **where), y)
    if "axis" in where:
        pieces, results = x.unbind(where["axis"]), y.unbind(where["axis"])
    elif where:
        pieces, results = (t.reshape(-1, where["block_size"]).unbind() for t in (x, y))
    else:
        pieces, results = [x], [y]
    for piece, result, s, z in zip(pieces, results, scale.view(-1), zero_point.view(-1), strict=True):
        assert torch.equal(result, fake_quantize(piece, s, z, signed=signed))
    assert sqnr_db(x, y) > 30
    if where:
        whole = scale_and_zero_point(*value_range(x), 8, signed=signed, symmetric=symmetric)
        assert mse(x, y) <= mse(x, fake_quantize(x, *whole, signed=signed)), "finer is never worse"


@pytest.mark.parametrize("where", [{}, {"axis": 0}, {"axis": 1}, {"axis": 2}, {"block_size": 4}], ids=str)
def test_more_than_one_block(where, monkeypatch):
    x = normal(7, 6, 8)
    scale, zero_point = scale_and_zero_point(*value_range(x, **where))
    once = fake_quantize(x, scale, zero_point, **where)
    for size in (1, 5, 16, 48, 100):
        monkeypatch.setattr(chunks, "CPU_BLOCK", size)
        assert torch.equal(fake_quantize(x, scale, zero_point, **where), once)


def test_roundings():
    x = torch.tensor([0.5, 1.5, -0.5, -1.5, 0.3, -0.7])
    arguments = {"scale": 1.0, "zero_point": 10}
    assert quantize(x, **arguments).tolist() == [10, 12, 10, 8, 10, 9]
    assert quantize(x, **arguments, rounding="nearest-away").tolist() == [11, 12, 9, 8, 10, 9]
    assert quantize(x, **arguments, rounding="toward-zero").tolist() == [10, 11, 10, 9, 10, 10]
    generator = torch.Generator().manual_seed(0)
    y = fake_quantize(torch.full((2**16,), 0.3), 1.0, rounding="stochastic", generator=generator)
    assert abs(y.mean().item() - 0.3) <= 5 * math.sqrt(0.3 * 0.7 / 2**16)


# What is defined at the edges.


def test_nan_and_infinity(loop):
    x = torch.tensor([NAN, INF, -INF])
    y = fake_quantize(x, 0.5, 3)
    assert y[0].isnan()
    assert y[1:].tolist() == [(255 - 3) / 2, -1.5]
    assert quantize(x[1:], 0.5, 3).tolist() == [255, 0]
    with pytest.raises(ValueError, match="NaN"):
        quantize(x, 0.5, 3)


def test_zero_is_exact(loop):
    for seed in range(20):
        x = normal(50, seed=seed) + seed / 5
        scale, zero_point = scale_and_zero_point(*value_range(x), 5)
        assert fake_quantize(torch.zeros(3), scale, zero_point, num_bits=5).tolist() == [0, 0, 0]


@pytest.mark.parametrize("where", GRANULARITIES[:4], ids=str)
def test_layouts(where, loop):
    x = normal(12, 12, 12)
    scale, zero_point = scale_and_zero_point(*value_range(x, **where))
    for view in (x.mT, x.transpose(0, 2), x[:, ::2].repeat_interleave(2, 1), x.expand(1, 12, 12, 12)[0]):
        expected = fake_quantize(view.clone(memory_format=torch.contiguous_format), scale, zero_point, **where)
        assert torch.equal(fake_quantize(view, scale, zero_point, **where), expected)
    before = x.clone()
    fake_quantize(x, scale, zero_point, **where)
    quantize(x.mT, scale, zero_point, **where)
    assert torch.equal(x, before), "the input is left alone"


def test_sizes_zero_and_scalars(loop):
    assert fake_quantize(torch.tensor(0.7), 0.5).tolist() == 0.5
    assert fake_quantize(torch.ones(0), 0.5).shape == (0,)
    assert fake_quantize(torch.ones(3, 0, 2), torch.ones(3), axis=0).shape == (3, 0, 2)
    assert fake_quantize(torch.ones(0, 2), torch.ones(0), axis=0).shape == (0, 2)
    assert quantize(torch.ones(0, 4), torch.ones(0, 2), block_size=2).shape == (0, 4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes(dtype, loop):
    x = normal(300).to(dtype)
    scale, zero_point = scale_and_zero_point(*value_range(x))
    y = fake_quantize(x, scale, zero_point)
    assert y.dtype == dtype
    wide = torch.promote_types(dtype, torch.float32)
    assert torch.equal(y, fake_quantize(x.to(wide), scale, zero_point).to(dtype))
    assert torch.equal(quantize(x, scale, zero_point), quantize(x.to(wide), scale, zero_point))


@pytest.mark.parametrize("function", [quantize, fake_quantize])
def test_refusals(function, loop):
    x = torch.ones(2, 6)
    with pytest.raises(TypeError, match=r"int64.*\.float\(\)"):
        function(x.long(), 1.0)
    for bad in (0.0, -1.0, NAN, INF):
        with pytest.raises(ValueError, match="scale must be positive"):
            function(x, bad)
        for axis in (0, 1):  # one bad scale among good ones
            scales = torch.ones(x.shape[axis])
            scales[1] = bad
            with pytest.raises(ValueError, match="scale must be positive"):
                function(x, scales, axis=axis)
    for bad in (-1, 256, 0.5, NAN):
        with pytest.raises(ValueError, match="zero_point"):
            function(x, 1.0, bad)
        with pytest.raises(ValueError, match="zero_point"):
            function(x, 1.0, torch.tensor([0, bad]), axis=0)
        if isinstance(bad, int):
            with pytest.raises(ValueError, match="zero_point"):
                function(x, torch.ones(2), torch.tensor([0, bad], dtype=torch.int32), axis=0)
    with pytest.raises(ValueError, match=r"of shape \(2,\)"):
        function(x, torch.ones(6), axis=0)
    with pytest.raises(ValueError, match=r"one number or of shape \(\)"):
        function(x, torch.ones(2))
    with pytest.raises(ValueError, match="not a multiple of block_size=4"):
        function(x, torch.ones(2), block_size=4)
    with pytest.raises(ValueError, match="axis 2"):
        function(x, torch.ones(2), axis=2)
    with pytest.raises(ValueError, match="exclude each other"):
        function(x, 1.0, axis=0, block_size=2)
    with pytest.raises(ValueError, match="rounding is one of"):
        function(x, 1.0, rounding="up")


def test_dequantize_refuses_floats():
    with pytest.raises(TypeError, match="integers"):
        dequantize(torch.ones(3), 1.0)


# torch's own.


def test_torch_multiplies_by_the_reciprocal_and_misses_by_a_step(loop):
    """Where torch.fake_quantize and we differ, x / scale in exact arithmetic says who is right; and where x / scale is
    not within the rounding error of a tie, we do not differ."""
    x = normal(2**22)
    scale, zero_point = scale_and_zero_point(*value_range(x))
    mine = fake_quantize(x, scale, zero_point)
    theirs = torch.fake_quantize_per_tensor_affine(x, scale, zero_point, 0, 255)
    differ = (mine != theirs).nonzero().flatten().tolist()
    assert 1 <= len(differ) <= 10
    for i in differ:
        exact = Fraction(x[i].item()) / Fraction(scale.item())
        assert abs(exact % 1 - Fraction(1, 2)) < Fraction(1, 2**16), "x / scale is close to a tie"
        assert abs((mine[i] - theirs[i]).abs() / scale - 1) < 2**-16, "they are one step apart"
        off = [abs(Fraction(v[i].item()) / Fraction(scale.item()) - exact) for v in (mine, theirs)]
        quotient = np.float32(x[i].item()) / np.float32(scale.item())
        if quotient % 1 != 0.5:  # else the division itself was rounded to a tie, and either neighbour is as near
            assert off[0] < off[1], "and ours is the nearer"


def test_torch_per_channel_differs_no_more(loop):
    x = normal(64, 2**14)
    scale, zero_point = scale_and_zero_point(*value_range(x, axis=0), signed=True)
    mine = fake_quantize(x, scale, zero_point, signed=True, axis=0)
    theirs = torch.fake_quantize_per_channel_affine(x, scale, zero_point, 0, -128, 127)
    differ = mine != theirs
    assert differ.sum() <= 10
    quotient = (x.double() / scale[:, None].double())[differ]
    assert ((quotient % 1 - 0.5).abs() < 2.0**-16).all()


def test_torch_quantized_tensors_agree_where_the_scale_is_a_power_of_two():
    """Then 1 / scale is exact, and so is torch."""
    x = normal(10000)
    q = quantize(x, 2.0**-5, 100)
    theirs = torch.fake_quantize_per_tensor_affine(x, 2.0**-5, 100, 0, 255)
    assert torch.equal(dequantize(q, 2.0**-5, 100), theirs)
    assert torch.equal(fake_quantize(x, 2.0**-5, 100), theirs)


# Errors.


def test_error_measures():
    x, y = torch.tensor([3.0, -4.0]), torch.tensor([3.0, -3.0])
    assert mse(x, y) == 0.5
    assert sqnr_db(x, y) == pytest.approx(10 * math.log10(25), abs=1e-12)
    assert sqnr_db(x, x) == INF
    assert sqnr_db(torch.zeros(2), y) == -INF
    assert mse(torch.tensor([1e30]), torch.tensor([0.0])) == pytest.approx(1e60), "float64, so no overflow"
    for bad in (torch.ones(3), torch.ones(1)):
        with pytest.raises(ValueError, match="one shape"):
            mse(x, bad)
    with pytest.raises(ValueError, match="one shape"):
        mse(torch.ones(0), torch.ones(0))


def test_six_decibels_per_bit():
    """Uniform data over the whole range: error uniform within half a step, so 20 log10(2) = 6.02 dB for each bit. The
    mean of n squares, each uniform's with relative deviation sqrt(4/5), is within 5 sqrt(4/5/n)."""
    n = 2**20
    x = torch.rand(n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for num_bits in (4, 6, 8):
        levels = 2**num_bits - 1
        step = 1 / levels  # and the signal's mean square is 1/3
        theory = 10 * math.log10(1 / 3 / (step**2 / 12))
        got = sqnr_db(x, fake_quantize(x, torch.tensor(step, dtype=torch.float64), num_bits=num_bits))
        assert abs(got - theory) <= 10 / math.log(10) * 2 * 5 * math.sqrt(0.8 / n)
