"""Number formats against independent implementations: a search in the table of values, gfloat, ml_dtypes, torch.

Where an independent implementation differs, the difference is a test too.
"""

from __future__ import annotations

import gfloat
import ml_dtypes
import numpy as np
import pytest
import torch
from gfloat.formats import format_info_ocp_e8m0

from course_utils.numerics import chunks
from course_utils.numerics.formats import FORMATS, FloatFormat, Overflow, Rounding

GFLOAT_ROUNDING = {
    "nearest-even": gfloat.RoundMode.TiesToEven,
    "nearest-away": gfloat.RoundMode.TiesToAway,
    "toward-zero": gfloat.RoundMode.TowardZero,
}
SPECIALS = ("ieee", "fn", "none")


def formats(exponents, mantissas, **more) -> list[FloatFormat]:
    """All that exist, of the exponent and mantissa widths given."""
    found = []
    for e in exponents:
        for m in mantissas:
            for specials in SPECIALS:
                try:
                    found.append(FloatFormat(e, m, specials=specials, **more))
                except ValueError:
                    assert (e == 1 and m == 0) or e == 8, f"e{e}m{m} {specials} is refused without reason"
    return found


SMALL = [f for f in formats(range(1, 8), range(7)) if f.bits <= 8]
LARGE = [f for f in formats(range(1, 9), range(24)) if f.bits > 8]


def label(f: FloatFormat) -> str:
    return f"{f}-{f.specials}"


def same(a: np.ndarray | torch.Tensor, b: np.ndarray | torch.Tensor) -> bool:
    """Equal in every element and in the sign of zeros, any NaN being one value."""
    a, b = (np.asarray(v, dtype=np.float64) for v in (a, b))
    nan = np.isnan(a) & np.isnan(b)
    return bool((nan | ((a == b) & (np.signbit(a) == np.signbit(b)))).all())


def trials(f: FloatFormat, values: np.ndarray, seed: int = 0) -> torch.Tensor:
    """Where rounding can go wrong, as float32: values, the midpoints between them, their neighbours, random numbers of
    all sizes and of the format's size, zeros, infinities, NaN, the ends of float32."""
    random = np.random.default_rng(seed)
    some = 500 if f.bits <= 8 else 100
    positive = np.unique(np.abs(values))
    positive = np.append(positive, [positive[-1] * 2, 2 * positive[-1] - positive[-2]])  # and beyond the largest
    middles = (positive[1:] + positive[:-1]) / 2
    sizes = np.exp2(random.uniform(f.min_exponent - f.mantissa_bits - 2, f.max_exponent + 1.5, some))
    ends = np.finfo(np.float32)
    with np.errstate(over="ignore"):
        points = np.concatenate([positive, middles, sizes, [0, np.nan, ends.max, ends.tiny]]).astype(np.float32)
        around = [np.nextafter(points, np.float32(end)) for end in (0, np.inf)]
    anywhere = random.integers(0, 2**32, some, dtype=np.uint32).view(np.float32)
    x = np.concatenate([points, *around, anywhere])
    return torch.from_numpy(np.concatenate([x, -x]))


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors gain nothing by more, and lose much where other processes want the cores too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def quantize(f: FloatFormat, x: torch.Tensor, *arguments, **more) -> torch.Tensor:
    """With torch's own operations and with the compiled loop, which must be the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "COMPILED_FROM", 2**60)
        eager = f.quantize(x, *arguments, **more)
        patch.setattr(chunks, "COMPILED_FROM", 0)
        assert same(f.quantize(x, *arguments, **more), eager)
    return eager


# The definition itself: the nearest entry of the table.


def nearest(f: FloatFormat, x: torch.Tensor) -> np.ndarray:
    """Nearest value, ties to the even code, saturating; found by a search in the table of all values."""
    table = f.decode(torch.arange(f._largest_code + 1)).double().numpy()
    size = np.abs(x.double().numpy())
    code = np.searchsorted(table, np.minimum(size, table[-1]), side="right") - 1
    above = np.minimum(code + 1, len(table) - 1)
    middle = (table[code] + table[above]) / 2  # exact in float64
    code = np.where((size > middle) | ((size == middle) & (code % 2 == 1)), above, code)
    return np.where(np.isnan(size), np.nan, np.copysign(table[code], x.double().numpy()))


@pytest.mark.parametrize("f", SMALL, ids=label)
def test_the_nearest_value_of_the_table(f):
    x = trials(f, f.values().double().numpy())
    assert same(quantize(f, x), nearest(f, x))
    wide = torch.cat([x.double(), x.double() * (1 + 2.0**-40)])
    assert same(quantize(f, wide), nearest(f, wide))


@pytest.mark.parametrize("bias", [-3, 0, 1, 5, 20])
def test_any_bias(bias):
    for f in formats((2, 3, 4), (0, 1, 3), bias=bias):
        x = trials(f, f.values().double().numpy())
        assert same(quantize(f, x), nearest(f, x))


@pytest.mark.parametrize("f", SMALL, ids=label)
def test_flushing_is_rounding_and_then_dropping_what_is_subnormal(f):
    if f.largest < f.smallest_normal:
        return
    flushing = FloatFormat(f.exponent_bits, f.mantissa_bits, f.bias, f.specials, subnormals=False)
    y = quantize(f, x := trials(f, f.values().double().numpy()))
    expected = torch.where(y.abs() < f.smallest_normal, torch.zeros_like(y).copysign(y), y)
    assert same(quantize(flushing, x), expected)
    assert torch.isin(expected[~expected.isnan()], flushing.values()).all()


# gfloat: every format, every rounding it shares with us.


def as_gfloat(f: FloatFormat) -> gfloat.FormatInfo:
    return gfloat.FormatInfo(
        str(f),
        f.bits,
        f.mantissa_bits + 1,
        bias=f.bias,
        is_signed=True,
        domain=gfloat.Domain.Extended if f.specials == "ieee" else gfloat.Domain.Finite,
        has_nz=True,
        num_high_nans={"ieee": 2**f.mantissa_bits - 1, "fn": 1, "none": 0}[f.specials],
        has_subnormals=True,
        is_twos_complement=False,
    )


def overflows(f: FloatFormat) -> tuple[Overflow, ...]:
    return ("saturate", "infinity") if f.has_infinity or f.has_nan else ("saturate",)


@pytest.mark.parametrize("f", SMALL, ids=label)
def test_gfloat_decodes_every_code_alike(f):
    codes = torch.arange(2**f.bits)
    assert same(f.decode(codes), gfloat.decode_ndarray(as_gfloat(f), codes.numpy()))


def agree_with_gfloat(f: FloatFormat, x: torch.Tensor, rounding: Rounding) -> None:
    info = as_gfloat(f)
    for overflow in overflows(f):
        mine = quantize(f, x, rounding, overflow)
        theirs = gfloat.round_ndarray(info, x.double().numpy(), GFLOAT_ROUNDING[rounding], overflow == "saturate")
        if info.max != f.largest:  # see test_gfloat_overstates_the_largest_value_of_one_exponent_bit
            assert f.exponent_bits == 1
            mine, theirs = mine[x.abs() <= f.largest], theirs[x.abs().numpy() <= f.largest]
        assert same(mine, theirs), f"{rounding}, {overflow}"


@pytest.mark.parametrize("rounding", GFLOAT_ROUNDING)
@pytest.mark.parametrize("f", SMALL, ids=label)
def test_gfloat_rounds_every_small_format_alike(f, rounding):
    agree_with_gfloat(f, trials(f, f.values().double().numpy()), rounding)


@pytest.mark.parametrize("rounding", GFLOAT_ROUNDING)
@pytest.mark.parametrize("m", range(24))
def test_gfloat_rounds_every_large_format_alike(m, rounding):
    for f in LARGE:
        if f.mantissa_bits == m:
            codes = torch.randint(0, f._largest_code + 1, (60,), generator=torch.Generator().manual_seed(m))
            pairs = torch.cat([codes, (codes + 1).clamp(max=f._largest_code), torch.tensor([0, 1, f._largest_code])])
            agree_with_gfloat(f, trials(f, f.decode(pairs).double().numpy()), rounding)


def test_gfloat_rounds_stochastically_alike_given_the_same_random_bits():
    """torch.rand is k / 2^24, and ours goes up if the fraction exceeds it; gfloat takes 2^24 - 1 - k to the same end.
    From half of the smallest value on, where a float32 has its fraction in multiples of 2^-24."""
    for f in SMALL:
        x = trials(f, f.values().double().numpy())
        x = x[x.abs() >= f.smallest / 2]
        mine = f.quantize(x, "stochastic", generator=torch.Generator().manual_seed(0))
        random = (torch.rand(len(x), generator=torch.Generator().manual_seed(0)) * 2**24).long().numpy()
        info = as_gfloat(f)
        theirs = gfloat.round_ndarray(
            info, x.double().numpy(), gfloat.RoundMode.Stochastic, True, 2**24 - 1 - random, 24
        ).clip(-f.largest, f.largest)  # for the sake of one exponent bit, see below
        assert same(mine, theirs), label(f)


def test_gfloat_encodes_alike():
    for f in SMALL:
        x = quantize(f, trials(f, f.values().double().numpy()))
        x = x[~x.isnan()].unique()
        assert np.array_equal(f.encode(x).numpy(), gfloat.encode_ndarray(as_gfloat(f), x.double().numpy()))


def test_gfloat_overstates_the_largest_value_of_one_exponent_bit():
    """IEEE-style with one exponent bit, all values are subnormal. gfloat takes the largest for normal: 1.875, which is
    no value of e1m3, and saturates to it."""
    f = FloatFormat(1, 3)
    assert as_gfloat(f).max == 1.875
    assert f.largest == gfloat.decode_float(as_gfloat(f), f._largest_code).fval == 1.75


def test_gfloat_rounds_the_scale_format_alike():
    """But for what e8m0 has no value for: gfloat returns 0 and negative numbers unchanged in kind."""
    f = FORMATS["e8m0"]
    x = torch.tensor([2.0**e for e in range(-126, 128)])
    x = torch.cat([x, x * 1.5, x * 1.25, x * 1.75])
    x = x[x.isfinite()]
    for name, rounding in GFLOAT_ROUNDING.items():
        theirs = gfloat.round_ndarray(format_info_ocp_e8m0, x.double().numpy(), rounding, True)
        assert same(quantize(f, x, name), theirs)
    assert gfloat.round_float(format_info_ocp_e8m0, 0.0) == 0


# ml_dtypes: on float32 inputs, here every 16411th of the 2^32 bit patterns, and on request all of them.

ML_DTYPES = {  # format, its dtype, what the dtype does on overflow
    "e5m2": (FORMATS["e5m2"], ml_dtypes.float8_e5m2, "infinity"),
    "e4m3": (FORMATS["e4m3"], ml_dtypes.float8_e4m3fn, "infinity"),
    "e3m4": (FORMATS["e3m4"], ml_dtypes.float8_e3m4, "infinity"),
    "e4m3 ieee": (FloatFormat(4, 3), ml_dtypes.float8_e4m3, "infinity"),
    "bfloat16": (FORMATS["bfloat16"], ml_dtypes.bfloat16, "infinity"),
    "float16": (FORMATS["float16"], np.float16, "infinity"),
    "e2m3": (FORMATS["e2m3"], ml_dtypes.float6_e2m3fn, "saturate"),
    "e3m2": (FORMATS["e3m2"], ml_dtypes.float6_e3m2fn, "saturate"),
    "e2m1": (FORMATS["e2m1"], ml_dtypes.float4_e2m1fn, "saturate"),
}
STRIDE = 16411  # a prime, so that the sample meets all low bits


def agree_with_ml_dtypes(name: str, bits: np.ndarray, call=quantize) -> None:
    """On these bit patterns: same values, and the sign of zeros; any NaN is one value."""
    f, dtype, overflow = ML_DTYPES[name]
    x = bits.astype(np.uint32, copy=False).view(np.float32)
    if not f.has_nan:
        x = x[~np.isnan(x)]
    mine = call(f, torch.from_numpy(x), overflow=overflow).numpy()
    with np.errstate(over="ignore", invalid="ignore"):
        theirs = x.astype(dtype).astype(np.float32)
    differ = mine.view(np.uint32) != theirs.view(np.uint32)
    differ[differ] = ~(np.isnan(mine[differ]) & np.isnan(theirs[differ]))
    assert not differ.any(), f"{differ.sum()} differ, the first at {x[differ][0]!r}"


@pytest.mark.parametrize("name", ML_DTYPES)
def test_ml_dtypes_on_a_sample(name):
    agree_with_ml_dtypes(name, np.arange(0, 2**32, STRIDE, dtype=np.uint64))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("loop", ["compiled", "eager"])
@pytest.mark.parametrize("name", ["e5m2", "e4m3", "e3m4"])
def test_ml_dtypes_on_every_float32(name, loop, monkeypatch):
    monkeypatch.setattr(chunks, "COMPILED_FROM", 0 if loop == "compiled" else 2**60)
    piece = np.arange(2**20, dtype=np.uint32)  # stays in the cache
    for start in range(0, 2**32, 2**20):
        agree_with_ml_dtypes(name, piece + np.uint32(start), FloatFormat.quantize)


@pytest.mark.parametrize("name", [n for n in ML_DTYPES if n not in ("bfloat16", "float16")])
def test_ml_dtypes_has_the_same_codes(name):
    f, dtype, overflow = ML_DTYPES[name]
    x = trials(f, f.values().double().numpy())
    x = x[~x.isnan()]
    with np.errstate(over="ignore", invalid="ignore"):
        theirs = x.numpy().astype(dtype).view(np.uint8)
    assert np.array_equal(f.encode(x, overflow=overflow).numpy() & 0x7F, theirs & 0x7F)
    finite = (x.abs() <= f.largest).numpy()  # the sign of ml_dtypes' NaN from overflow is its own
    assert np.array_equal(f.encode(x, overflow=overflow).numpy()[finite], theirs[finite])


# Where others differ. Each of these is a decision of ours, told in the text of `formats`.


def test_torch_saturates_e4m3_and_lets_e5m2_overflow():
    """Ours is one rule for all formats; torch 2.15 maps infinity to 448 in one and 61440 to infinity in the other."""
    x = torch.tensor([1e9, torch.inf])
    assert x.to(torch.float8_e4m3fn).float().tolist() == [448.0, 448.0]
    assert x.to(torch.float8_e5m2).float().tolist() == [torch.inf, torch.inf]
    assert FORMATS["e4m3"].quantize(x).tolist() == [448.0, 448.0]
    assert FORMATS["e5m2"].quantize(x).tolist() == [57344.0, 57344.0]


@pytest.mark.parametrize(
    ("name", "dtype", "overflow"),
    [
        ("e4m3", torch.float8_e4m3fn, "saturate"),
        ("e5m2", torch.float8_e5m2, "infinity"),
        ("bfloat16", torch.bfloat16, "infinity"),
        ("float16", torch.float16, "infinity"),
    ],
)
def test_torch_casts_are_the_same_otherwise(name, dtype, overflow):
    x = torch.from_numpy(np.arange(0, 2**32, STRIDE, dtype=np.uint64).astype(np.uint32).view(np.float32).copy())
    assert same(quantize(FORMATS[name], x, overflow=overflow), x.to(dtype).float())


def test_ml_dtypes_overflows_e4m3_to_nan():
    x = torch.tensor([465.0, torch.inf])
    assert np.isnan(x.numpy().astype(ml_dtypes.float8_e4m3fn).astype(np.float32)).all()
    assert FORMATS["e4m3"].quantize(x).tolist() == [448.0, 448.0]
    assert FORMATS["e4m3"].quantize(x, overflow="infinity").isnan().all()


def test_ml_dtypes_has_no_nan_in_the_small_formats_and_invents_a_number():
    """Ours stays NaN, since the result is a float32, which has one."""
    x = torch.tensor([torch.nan])
    for name in ("e2m3", "e3m2", "e2m1"):
        f, dtype, _ = ML_DTYPES[name]
        assert not np.isnan(x.numpy().astype(dtype).astype(np.float32)).any()
        assert quantize(f, x).isnan().all()


def test_ml_dtypes_rounds_the_scale_format_half_up():
    """3 lies between 2 (code 128) and 4 (code 129): the even code is ours and gfloat's, the larger ml_dtypes'."""
    x = torch.tensor([3.0, 0.0])
    theirs = x.numpy().astype(ml_dtypes.float8_e8m0fnu).astype(np.float32)
    assert theirs[0] == 4.0
    assert np.isnan(theirs[1])
    assert FORMATS["e8m0"].quantize(x).tolist() == [2.0, 2.0**-127]


# The mathematics of the module's text.


@pytest.mark.parametrize(
    "f", [f for f in SMALL + LARGE if f.exponent_bits < 8 and 0 < f.mantissa_bits <= 21], ids=label
)
def test_adding_a_large_power_of_two_is_the_same(f):
    """(x + c*E) - c*E, clamped, with the sign of zero restored: what the text derives, within the limits it states."""
    values = f.decode(torch.randint(0, f._largest_code + 1, (100,), generator=torch.Generator().manual_seed(0)))
    x = trials(f, values.double().numpy())
    binade = (x.view(torch.int32) & 0x7F800000).view(torch.float32)
    cE = 1.5 * 2 ** (23 - f.mantissa_bits) * binade.clamp(2.0**f.min_exponent, 2.0**f.max_exponent)
    y = ((x + cE) - cE).clamp(-f.largest, f.largest).copysign(x)
    assert same(quantize(f, x), y)
