"""Block formats against gfloat, and what is defined where the specification leaves a choice."""

from __future__ import annotations

import math

import gfloat
import numpy as np
import pytest
import torch
from gfloat import formats as gformats

from course_utils.numerics import chunks
from course_utils.numerics.block_formats import BLOCK_FORMATS, NVFP4, BlockFormat
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


# torchao, where both have a format.


def sizes(seed: int) -> torch.Tensor:
    x = torch.randn(400, 256, generator=torch.Generator().manual_seed(seed))
    x[::3] = (x[::3] * 8).round() / 8
    return x * torch.exp2(torch.linspace(-148, 120, 400))[:, None]


def torchao_mx(name: str, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(codes, scales), one code to a byte."""
    from torchao.prototype.mx_formats import constants, kernels, mx_tensor

    element = {
        "mxfp8_e5m2": torch.float8_e5m2,
        "mxfp8_e4m3": torch.float8_e4m3fn,
        "mxfp6_e3m2": constants.DTYPE_FP6_E3M2,
        "mxfp6_e2m3": constants.DTYPE_FP6_E2M3,
        "mxfp4": torch.float4_e2m1fn_x2,
    }[name]
    scales, codes = mx_tensor.to_mx(x, element, 32)
    codes = kernels.unpack_uint4(codes) if name == "mxfp4" else codes.view(torch.uint8)
    return codes.view(x.shape), scales.view(torch.uint8)


TORCHAO = [name for name in BLOCK_FORMATS if name != "mxint8"]


@pytest.mark.parametrize("name", TORCHAO)
def test_torchao_has_the_same_codes_and_scales(name):
    """But in blocks with the smallest scale, 2^-127: torchao divides them by 2^-126, and so halves them."""
    x = sizes(6)
    codes, scales = BLOCK_FORMATS[name].encode(x)
    theirs, their_scales = torchao_mx(name, x)
    assert torch.equal(scales, their_scales)
    different = (codes != theirs).view(400, 8, 32).any(-1)
    assert different.any()
    assert (scales[different] == 0).all()


@pytest.mark.parametrize("name", TORCHAO)
def test_torchao_gives_a_block_with_infinity_a_finite_scale(name):
    x = torch.ones(2, 32)
    x[0, 3], x[1, 4] = math.nan, math.inf
    assert BLOCK_FORMATS[name].encode(x)[1].flatten().tolist() == [255, 255]
    theirs = torchao_mx(name, x)[1].flatten().tolist()
    assert theirs[0] == 255
    assert theirs[1] < 255


# NVFP4.


def test_nvfp4_on_paper():
    """The largest, 42, is 6 * 448 * tensor scale. The second block's largest is 3: 3 / 6 / (1 / 64) = 32."""
    x = torch.zeros(32)
    x[:4] = torch.tensor([42.0, 20.0, -7.0, 1.0])
    x[16:19] = torch.tensor([3.0, 1.1, -0.2])
    codes, scales, tensor_scale = NVFP4.encode(x)
    assert tensor_scale.item() == 1 / 64
    assert FORMATS["e4m3"].decode(scales).tolist() == [448.0, 32.0]
    assert NVFP4.scales(x).tolist() == [7.0, 0.5]
    assert NVFP4.quantize(x)[[0, 1, 2, 3, 16, 17, 18]].tolist() == [42.0, 21.0, -7.0, 0.0, 3.0, 1.0, -0.25]
    assert torch.equal(NVFP4.decode(codes, scales, tensor_scale), NVFP4.quantize(x))


def test_nvfp4_at_the_edges():
    zeros = torch.tensor([0.0, -0.0])
    codes, scales, tensor_scale = NVFP4.encode(zeros)
    assert (codes.tolist(), scales.tolist(), tensor_scale.item()) == ([0, 8], [1], 1.0)
    assert NVFP4.quantize(zeros).signbit().tolist() == [False, True]
    x = torch.ones(4, 16)
    x[0, 3], x[1, 4], x[2] = math.nan, math.inf, 1e-9
    y = NVFP4.quantize(x)
    codes, scales, tensor_scale = NVFP4.encode(x)
    assert scales.flatten().tolist() == [0x7F, 0x7F, 1, 0x7E], "NaN twice, the smallest, 448"
    assert tensor_scale == 1 / np.float32(2688), "infinity does not count"
    assert y[:2].isnan().all()
    assert (y[2] == 0).all()
    assert y[3].tolist() == pytest.approx([1.0] * 16, rel=1e-6)
    assert NVFP4.decode(codes, scales, tensor_scale)[:2].isnan().all()
    for tiny in (1e-38, 1e-44):
        assert NVFP4.encode(torch.full((16,), tiny))[2] == 2.0**-126
        assert NVFP4.quantize(torch.full((16,), tiny)).isfinite().all()
    assert NVFP4.quantize(torch.full((16,), 3.4e38)).isfinite().all()


def test_nvfp4_is_the_formula():
    """In float64, from the table of values; each number is the nearest of its block's grid, to the last bit of the
    float32 quotient and product."""
    x = sizes(7)[200:260, :240] / 2.0**10
    _, scales, tensor_scale = NVFP4.encode(x)
    t = float(x.abs().max() / 2688)
    assert tensor_scale.item() == t
    largest = x.view(60, 15, 16).abs().amax(-1).double()
    wanted = (largest / 6 / t).clamp(min=2.0**-9)
    table = FORMATS["e4m3"].values().double()
    chosen = FORMATS["e4m3"].decode(scales).double()
    nearest = (wanted[..., None] - table).abs().amin(-1)
    assert ((wanted - chosen).abs() <= nearest * (1 + 1e-6) + wanted * 1e-6).all()
    grid = NVFP4.scales(x).double()[..., None, None] * FORMATS["e2m1"].values().double()
    errors = (x.view(60, 15, 16, 1).double() - grid).abs().amin(-1)
    mine = (x.view(60, 15, 16) - NVFP4.quantize(x).view(60, 15, 16)).double().abs()
    assert (mine <= errors + x.view(60, 15, 16).double().abs() * 2.0**-22).all()


def test_torchao_has_the_same_nvfp4():
    """But where the scale is below 2^-6, e4m3's smallest normal value: torchao takes that. It multiplies by
    reciprocals, which are rounded; so elsewhere a number close to a tie may end up a step off."""
    from torchao.prototype.mx_formats import kernels, nvfp4_tensor

    x = torch.randn(1000, 256, generator=torch.Generator().manual_seed(8))
    x[3], x[5] = 0.0, x[5] * 1e-5
    codes, scales, tensor_scale = NVFP4.encode(x)
    assert tensor_scale == nvfp4_tensor.per_tensor_amax_to_scale(x.abs().amax())
    their_scales, theirs = nvfp4_tensor.nvfp4_quantize(x, 16, tensor_scale)
    their_scales, theirs = their_scales.view(torch.uint8).view(scales.shape), kernels.unpack_uint4(theirs).view(x.shape)
    small = scales < 8
    assert small[[3, 5]].all()
    assert (their_scales[small] == 8).all()
    assert torch.equal(scales[~small], their_scales[~small])
    different = (codes != theirs).view(1000, 16, 16)[~small]
    assert different.sum() <= different.numel() / 2**17  # a tie has a neighbourhood of a few 2^-24
