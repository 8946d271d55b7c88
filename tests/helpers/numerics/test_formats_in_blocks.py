"""Block formats against gfloat, and what is defined where the specification leaves a choice."""

from __future__ import annotations

import math

import gfloat
import numpy as np
import pytest
import torch
from gfloat import formats as gformats

from course_utils.numerics import chunks
from course_utils.numerics.block_formats import BLOCK_FORMATS, BlockFormat
from course_utils.numerics.formats import FORMATS, DynamicFixedPoint

GFLOAT = {
    "mxfp8_e5m2": gformats.format_info_mxfp8_e5m2,
    "mxfp8_e4m3": gformats.format_info_mxfp8_e4m3,
    "mxfp6_e3m2": gformats.format_info_mxfp6_e3m2,
    "mxfp6_e2m3": gformats.format_info_mxfp6_e2m3,
    "mxfp4": gformats.format_info_mxfp4_e2m1,
    "mxint8": gformats.format_info_mxint8,
}
ROUNDING = {
    "nearest-even": gfloat.RoundMode.TiesToEven,
    "nearest-away": gfloat.RoundMode.TiesToAway,
    "toward-zero": gfloat.RoundMode.TowardZero,
}


def numbers(seed: int = 0) -> torch.Tensor:
    """60 blocks of sizes from 2^-140 to 2^120, with zeros, ties and a power of two as the largest number."""
    x = torch.randn(60, 32, generator=torch.Generator().manual_seed(seed))
    x[:, 1] = 0.0
    x[::3] = (x[::3] * 8).round() / 8
    x[::7, 5] = 4.0
    x[1::7] *= 0.01
    return x * torch.exp2(torch.linspace(-140, 120, 60))[:, None]


@pytest.mark.parametrize("rounding", ROUNDING)
@pytest.mark.parametrize("name", BLOCK_FORMATS)
def test_gfloat_agrees(name, rounding):
    f, x = BLOCK_FORMATS[name], numbers()
    y, scales = f.quantize(x, rounding), f.scales(x)
    for block, mine, scale in zip(x, y, scales, strict=True):
        vals = block.double().numpy()
        theirs = gfloat.quantize_block(GFLOAT[name], vals, gfloat.compute_scale_amax, ROUNDING[rounding])
        assert np.array_equal(mine.double().numpy(), theirs)
        assert scale.item() == gfloat.compute_scale_amax(GFLOAT[name].etype.emax, vals)


@pytest.mark.parametrize("name", BLOCK_FORMATS)
def test_encode_and_decode(name):
    f, x = BLOCK_FORMATS[name], numbers(1)
    codes, scales = f.encode(x)
    assert codes.shape == x.shape
    assert scales.shape == (60, 1)
    assert scales.dtype == torch.uint8
    assert torch.equal(f.decode(codes, scales), f.quantize(x))
    assert torch.equal(f.quantize(f.quantize(x)), f.quantize(x)), "idempotent"


def test_a_block_on_paper():
    """The largest is 7, in [4, 8) as e2m1's largest, 6, is: scale 1, and 7 saturates. With 14 the scale is 2."""
    f = BLOCK_FORMATS["mxfp4"]
    assert f.quantize(torch.tensor([7.0, 1.3, 0.3, -0.2])).tolist() == [6.0, 1.5, 0.5, 0.0]
    assert f.quantize(torch.tensor([14.0, 1.3, 0.3, -0.2])).tolist() == [12.0, 1.0, 0.0, 0.0]
    assert f.bits_per_value == 4.25
    codes, scales = f.encode(torch.tensor([14.0, 1.3]))
    assert (codes.tolist(), scales.tolist()) == ([7, 1], [128])
    assert BLOCK_FORMATS["mxint8"].quantize(torch.tensor([1.0, 1.99, -1.999])).tolist() == [1.0, 127 / 64, -2.0]


def test_a_nan_or_an_infinity_takes_its_block_along():
    for name, f in BLOCK_FORMATS.items():
        x = torch.ones(3, 32)
        x[0, 3], x[1, 4] = math.nan, -math.inf
        y = f.quantize(x)
        assert y[:2].isnan().all(), name
        assert (y[2] == 1).all()
        codes, scales = f.encode(x)
        assert scales.flatten().tolist()[:2] == [255, 255]
        assert f.decode(codes, scales)[:2].isnan().all()


def test_zeros():
    f = BLOCK_FORMATS["mxfp8_e4m3"]
    x = torch.tensor([0.0, -0.0])
    assert f.scales(x) == 2.0**-127
    assert f.quantize(x).signbit().tolist() == [False, True]
    assert f.encode(x)[1].item() == 0


def test_layouts_and_dtypes(monkeypatch):
    f = BLOCK_FORMATS["mxfp6_e2m3"]
    x = torch.randn(5, 70, generator=torch.Generator().manual_seed(2))
    y = f.quantize(x)
    assert f.scales(x).shape == (5, 3)
    assert torch.equal(y[:, 64:], f.quantize(x[:, 64:])), "the last block is short"
    assert torch.equal(y[:, :32], f.quantize(x[:, :32]))
    assert torch.equal(f.quantize(x.T.contiguous().T), y)
    assert torch.equal(f.decode(*f.encode(x)), y)
    assert torch.equal(f.quantize(x.double()), y.double())
    assert torch.equal(f.quantize(x.half()), f.quantize(x.half().float()))
    assert f.quantize(torch.ones(0)).shape == (0,)
    assert f.quantize(torch.ones(0, 5)).shape == (0, 5)
    assert f.quantize(torch.ones(2, 0)).shape == (2, 0)
    monkeypatch.setattr(chunks, "CPU_BLOCK", 64)
    assert torch.equal(f.quantize(x), y)


def test_refusals():
    f = BLOCK_FORMATS["mxfp4"]
    with pytest.raises(TypeError, match="int64"):
        f.quantize(torch.arange(32))
    with pytest.raises(ValueError, match="single number"):
        f.quantize(torch.tensor(1.0))
    with pytest.raises(ValueError, match="rounding is one of"):
        f.quantize(torch.ones(32), "up")
    for size in (0, 3, 2**17):
        with pytest.raises(ValueError, match="power of two"):
            BlockFormat(FORMATS["e2m1"], size)


def test_stochastic_rounding_follows_its_generator():
    f, x = BLOCK_FORMATS["mxfp4"], torch.randn(64, generator=torch.Generator().manual_seed(3))
    a, b = (f.quantize(x, "stochastic", torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(a, b)
    assert not torch.equal(a, f.quantize(x))


def test_blocks_pay_where_sizes_vary():
    """What block formats are for: numbers of very different sizes, one size to a block."""
    x = torch.randn(64, 32, generator=torch.Generator().manual_seed(5)) * torch.logspace(-4, 4, 64)[:, None]

    def relative_error(y: torch.Tensor) -> float:
        return float(((y - x).norm(dim=1) / x.norm(dim=1)).mean())

    assert relative_error(BLOCK_FORMATS["mxint8"].quantize(x)) < 0.01
    assert relative_error(DynamicFixedPoint(8).quantize(x)) > 0.5
