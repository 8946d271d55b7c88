"""Number formats: what a format is, and what is defined at NaN, infinity, zero and overflow; dtypes and layouts."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch

from course_utils.numerics import chunks
from course_utils.numerics.formats import FORMATS, DynamicFixedPoint, FixedPoint, FloatFormat

INF, NAN = math.inf, math.nan


@pytest.fixture(params=["eager", "compiled"])
def loop(request, monkeypatch) -> str:
    """Runs a test with torch's own operations, and again with the compiled loop from the first element on."""
    monkeypatch.setattr(chunks, "COMPILED_FROM", 0 if request.param == "compiled" else 2**60)
    return request.param


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Bit for bit the same, any NaN being one value."""
    a, b = (t.to(torch.float64).nan_to_num(nan=1e300, posinf=INF, neginf=-INF) for t in (a, b))
    return torch.equal(a.view(torch.int64), b.view(torch.int64))


# What a format is.


@pytest.mark.parametrize(
    ("name", "largest", "smallest_normal", "smallest", "values"),
    [  # OCP 8-bit floating point (OFP8) 1.0, table 2; OCP MX 1.0, section 5.3; IEEE 754-2019, table 3.5
        ("e5m2", 57344.0, 2.0**-14, 2.0**-16, 247),
        ("e4m3", 448.0, 2.0**-6, 2.0**-9, 253),
        ("e3m4", 15.5, 0.25, 2.0**-6, 223),
        ("e3m2", 28.0, 0.25, 0.0625, 63),
        ("e2m3", 7.5, 1.0, 0.125, 63),
        ("e2m1", 6.0, 1.0, 0.5, 15),
        ("float16", 65504.0, 2.0**-14, 2.0**-24, 2 * 31 * 1024 - 1),
        ("bfloat16", float.fromhex("0x1.fep127"), 2.0**-126, 2.0**-133, 2 * 255 * 128 - 1),
        ("float32", torch.finfo(torch.float32).max, 2.0**-126, 2.0**-149, None),
    ],
)
def test_named_formats_are_as_the_standards_say(name, largest, smallest_normal, smallest, values):
    f = FORMATS[name]
    assert (f.largest, f.smallest_normal, f.smallest) == (largest, smallest_normal, smallest)
    if values:
        table = f.values()
        assert len(table) == values
        assert table.dtype == torch.float32
        assert table[-1] == largest == -table[0]
        assert (table.diff() > 0).all()
        assert table[table > 0].min() == smallest


def test_two_numbers_are_the_ieee_style_format_of_the_labs():
    f = FloatFormat(exponent_bits=3, mantissa_bits=4)
    assert (f.bias, f.specials, f.subnormals, f.largest) == (3, "ieee", True, 15.5)
    assert [FloatFormat(e, 2).bias for e in range(1, 9)] == [0, 1, 3, 7, 15, 31, 63, 127]
    assert f == FORMATS["e3m4"]
    assert hash(f) == hash(FORMATS["e3m4"])
    assert str(f) == "e3m4"


def test_a_table_on_paper():
    """e2m1, IEEE-style: subnormals 0 and 0.5, one binade from 1, one from 2; the top exponent is reserved."""
    assert FloatFormat(2, 1).values().tolist() == [-3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3]
    assert FORMATS["e2m1"].values().tolist() == [-6, -4, -3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 4, 6]
    assert FloatFormat(1, 2).values().tolist() == [-1.5, -1, -0.5, 0, 0.5, 1, 1.5]  # subnormals only
    assert FloatFormat(2, 1, subnormals=False).values().tolist() == [-3, -2, -1.5, -1, 0, 1, 1.5, 2, 3]


def test_a_format_is_immutable():
    with pytest.raises(AttributeError):
        FORMATS["e4m3"].bias = 3


@pytest.mark.parametrize(
    "arguments",
    [
        {"exponent_bits": 0, "mantissa_bits": 3},
        {"exponent_bits": 9, "mantissa_bits": 3},
        {"exponent_bits": 4, "mantissa_bits": 24},
        {"exponent_bits": 4, "mantissa_bits": -1},
        {"exponent_bits": 8, "mantissa_bits": 7, "bias": 126},  # to 2^129
        {"exponent_bits": 8, "mantissa_bits": 7, "bias": 128},  # from 2^-127
        {"exponent_bits": 8, "mantissa_bits": 3, "specials": "none"},  # the top exponent is 2^128
        {"exponent_bits": 1, "mantissa_bits": 0},  # zero and infinity
        {"exponent_bits": 1, "mantissa_bits": 3, "subnormals": False},
        {"exponent_bits": 4, "mantissa_bits": 3, "specials": "fnuz"},
    ],
)
def test_what_float32_does_not_carry_is_refused(arguments):
    with pytest.raises(ValueError, match=r"e\d|specials"):
        FloatFormat(**arguments)


# NaN, infinity, zero, overflow.


@pytest.mark.parametrize("rounding", ["nearest-even", "nearest-away", "toward-zero", "stochastic"])
@pytest.mark.parametrize("name", [n for n in FORMATS if n != "e8m0"])
def test_specials_when_saturating(name, rounding, loop):
    f = FORMATS[name]
    x = torch.tensor([NAN, INF, -INF, 0.0, -0.0, 3.4e38, -3.4e38])
    expected = torch.tensor([NAN, f.largest, -f.largest, 0.0, -0.0, f.largest, -f.largest])
    if name == "float32":
        expected[5:] = x[5:]
    assert same(f.quantize(x, rounding), expected)


@pytest.mark.parametrize("rounding", ["nearest-even", "nearest-away", "stochastic"])
def test_specials_when_overflowing(rounding, loop):
    x = torch.tensor([NAN, INF, -INF, 0.0, -0.0, 1e30, -1e30])
    ieee = FORMATS["e5m2"].quantize(x, rounding, "infinity")
    assert same(ieee, torch.tensor([NAN, INF, -INF, 0.0, -0.0, INF, -INF]))
    fn = FORMATS["e4m3"].quantize(x, rounding, "infinity")
    assert same(fn, torch.tensor([NAN, NAN, NAN, 0.0, -0.0, NAN, NAN]))
    with pytest.raises(ValueError, match="neither infinity nor NaN"):
        FORMATS["e2m1"].quantize(x, rounding, "infinity")


def test_overflow_begins_half_a_step_above_the_largest_value(loop):
    """e4m3: 448 is followed by 480, which is NaN's; 464 is between, and the tie goes to the even code, 448's."""
    x = torch.tensor([463.9, 464.0, 464.1])
    assert FORMATS["e4m3"].quantize(x).tolist() == [448.0] * 3
    assert same(FORMATS["e4m3"].quantize(x, overflow="infinity"), torch.tensor([448.0, 448.0, NAN]))
    x = torch.tensor([61439.0, 61440.0])  # e5m2: 57344, then 65536
    assert FORMATS["e5m2"].quantize(x, overflow="infinity").tolist() == [57344.0, INF]


def test_toward_zero_only_infinity_overflows():
    x = torch.tensor([1e30, INF, -1e30, -INF])
    assert FORMATS["e5m2"].quantize(x, "toward-zero", "infinity").tolist() == [57344.0, INF, -57344.0, -INF]
    fn = FORMATS["e4m3"].quantize(x, "toward-zero", "infinity")
    assert same(fn, torch.tensor([448.0, NAN, -448.0, NAN]))


def test_what_rounds_to_zero_keeps_its_sign(loop):
    y = FORMATS["e4m3"].quantize(torch.tensor([1e-9, -1e-9, 1e-45, -1e-45]))
    assert same(y, torch.tensor([0.0, -0.0, 0.0, -0.0]))


def test_flush_to_zero_comes_after_rounding(loop):
    """0.99 rounds to 1, the smallest normal value of e2m1, and stays; 0.6 rounds to 0.5 and is flushed."""
    f = FloatFormat(2, 1, subnormals=False)
    x = torch.tensor([0.99, -0.99, 0.75, 0.6, -0.6, NAN, 1.2, -INF])
    assert same(f.quantize(x), torch.tensor([1.0, -1.0, 1.0, 0.0, -0.0, NAN, 1.0, -3.0]))


def test_codes_of_the_specials():
    x = torch.tensor([0.0, -0.0, INF, -INF, NAN])
    codes = {"e5m2": [0, 0x80, 0x7C, 0xFC, 0x7E], "e4m3": [0, 0x80, 0x7F, 0xFF, 0x7F]}
    for name, expected in codes.items():
        assert FORMATS[name].encode(x, overflow="infinity").tolist() == expected
    assert FORMATS["e4m3"].encode(x).tolist() == [0, 0x80, 0x7E, 0xFE, 0x7F]
    assert FORMATS["float32"].encode(x, overflow="infinity").tolist() == [
        0,
        1 << 31,
        0x7F800000,
        0xFF800000,
        0x7FC00000,
    ]
    assert FORMATS["e2m1"].encode(x[:4]).tolist() == [0, 8, 7, 15]
    with pytest.raises(ValueError, match="no code for NaN"):
        FORMATS["e2m1"].encode(x)


def test_float32_codes_are_its_bits():
    bits = torch.randint(-(2**31), 2**31, (10000,), generator=torch.Generator().manual_seed(0))
    x = bits.to(torch.int32).view(torch.float32)
    x = x[x.isfinite()]
    f = FORMATS["float32"]
    assert torch.equal(f.quantize(x), x)
    assert torch.equal(f.encode(x), x.view(torch.int32).long() & 0xFFFFFFFF)
    assert torch.equal(f.decode(f.encode(x)), x)


@pytest.mark.parametrize("name", FORMATS)
def test_encode_and_decode_are_inverse(name):
    f = FORMATS[name]
    if f.bits <= 16:
        codes = torch.arange(2**f.bits)
        values = f.decode(codes)
        finite = values.isfinite()
        assert torch.equal(f.encode(values[finite]).long(), codes[finite])
        assert f.encode(values[finite]).dtype == (torch.uint8 if f.bits <= 8 else torch.int32)


# e8m0.


def test_e8m0_holds_powers_of_two_and_nan():
    f = FORMATS["e8m0"]
    assert torch.equal(f.values().double(), torch.tensor([2.0**e for e in range(-127, 128)], dtype=torch.float64))
    assert f.decode(torch.tensor([255])).isnan().all()
    x = torch.tensor([1.0, 1.4, 1.5, 3.0, 0.75, 3.4e38, INF, 0.0, -0.0, 1e-45, -1.0, NAN])
    expected = torch.tensor([1.0, 1.0, 2.0, 2.0, 0.5, 2.0**127, 2.0**127] + [2.0**-127] * 3 + [NAN, NAN])
    assert same(f.quantize(x), expected)  # of 1.5 and 3 the even codes are those of 2 and 2, of 0.75 that of 0.5
    assert same(f.decode(f.encode(x)), expected)
    over = f.quantize(torch.tensor([2.0**127, 3.4e38, INF]), overflow="infinity")
    assert same(over, torch.tensor([2.0**127, NAN, NAN]))


# Dtypes, layouts, refusals.


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["e4m3", "float16", "bfloat16"])
def test_every_float_dtype_is_rounded_once(name, dtype, loop):
    """The result is what float64 gives, in the input's dtype where that holds the format."""
    f = FORMATS[name]
    x = (torch.randn(1000, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 9).to(dtype)
    y = f.quantize(x)
    assert torch.equal(y.double(), f.quantize(x.double()))
    holds = dtype in (torch.float32, torch.float64) or name == "e4m3" or str(dtype) == f"torch.{name}"
    assert y.dtype == (dtype if holds else torch.float32)


@pytest.mark.parametrize("rounding", ["nearest-even", "nearest-away", "toward-zero"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("f", [*map(FORMATS.get, ("e4m3", "e2m1", "bfloat16", "e8m0")), FixedPoint(4, 4)], ids=str)
def test_of_many_numbers_of_16_bits_each_is_what_its_float64_is(f, dtype, rounding, monkeypatch):
    """There are 2^16; where a tensor has more, and no loop is compiled, they are looked up."""
    monkeypatch.setattr(chunks, "COMPILED_FROM", 2**60)
    each = torch.arange(2**16, dtype=torch.int32).to(torch.uint16).view(dtype)
    x = each.expand(5, 2**16).T.clone().T  # not contiguous
    assert chunks._has_few_numbers(x, rounding)
    y, expected = f.quantize(x, rounding), f.quantize(each.double(), rounding)
    assert y.dtype == f.quantize(x[:1, :9]).dtype
    assert same(y, expected.expand(5, 2**16))
    if f.has_nan:
        assert torch.equal(f.encode(x, rounding), f.encode(each.double(), rounding).expand(5, 2**16))
    else:
        with pytest.raises(ValueError, match="no code for NaN"):
            f.encode(x, rounding)


def test_float64_is_not_rounded_twice():
    """Just above a tie, by less than float32 can tell: rounding through float32 first would give 1."""
    x = torch.tensor([1 + 2.0**-4 + 2.0**-40], dtype=torch.float64)
    assert FORMATS["e4m3"].quantize(x).item() == 1.125
    assert FORMATS["e4m3"].quantize(x.float()).item() == 1.0


@pytest.mark.parametrize("f", [FORMATS["e4m3"], FORMATS["e8m0"], FixedPoint(4, 4), DynamicFixedPoint(8)], ids=str)
def test_layouts(f, loop):
    x = torch.randn(6, 8, 10, generator=torch.Generator().manual_seed(2))
    y = f.quantize(x)
    for view in (x.transpose(0, 2), x[::2, :, 1:7:3], x.to(torch.float16).mT):
        assert same(f.quantize(view), f.quantize(view.clone(memory_format=torch.contiguous_format)))
    assert same(f.quantize(x.transpose(0, 2)), y.transpose(0, 2))
    assert same(f.quantize(x[None, :1].expand(3, 1, 8, 10)[1]), f.quantize(x[:1]))
    for shape in ((), (0,), (3, 0, 2)):
        assert f.quantize(torch.ones(shape)).shape == shape
    before = x.clone()
    f.quantize(x)
    f.quantize(x.mT)
    assert torch.equal(x, before), "the input is left alone"


def test_more_than_one_block(monkeypatch):
    x = torch.randn(1000, 7, generator=torch.Generator().manual_seed(3))
    whole = FORMATS["e4m3"].quantize(x)
    monkeypatch.setattr(chunks, "CPU_BLOCK", 97)
    assert torch.equal(FORMATS["e4m3"].quantize(x), whole)
    assert torch.equal(FORMATS["e4m3"].quantize(x.mT), whole.mT)


def test_gradients_are_not_followed(loop):
    x = torch.randn(4, requires_grad=True)
    assert not FORMATS["e4m3"].quantize(x).requires_grad


@pytest.mark.parametrize("f", [FORMATS["e4m3"], FORMATS["e8m0"], FixedPoint(4, 4), DynamicFixedPoint(8)], ids=str)
@pytest.mark.parametrize("method", ["quantize", "encode"])
def test_refusals(f, method):
    call = getattr(f, method)
    with pytest.raises(TypeError, match=r"int64.*\.float\(\)"):
        call(torch.arange(4))
    with pytest.raises(TypeError, match="complex64"):
        call(torch.ones(4, dtype=torch.complex64))
    with pytest.raises(TypeError, match="list"):
        call([1.0, 2.0])
    with pytest.raises(ValueError, match="nearest-even, nearest-away"):
        call(torch.ones(4), rounding="up")
    with pytest.raises(ValueError, match="overflow"):
        call(torch.ones(4), overflow="wrap")


@pytest.mark.parametrize("f", [FORMATS["e4m3"], FORMATS["e8m0"], FixedPoint(4, 4)], ids=str)
def test_decode_refuses_what_is_no_code(f):
    with pytest.raises(TypeError, match="integers"):
        f.decode(torch.ones(3))
    with pytest.raises(ValueError, match=r"256"):
        f.decode(torch.tensor([256]))
    with pytest.raises(ValueError, match=r"-129"):
        f.decode(torch.tensor([-129]))
    assert f.decode(torch.zeros(0, dtype=torch.uint8)).shape == (0,)


def test_a_table_of_float32_is_refused():
    with pytest.raises(ValueError, match=r"2\^32 codes"):
        FORMATS["float32"].values()
    with pytest.raises(ValueError, match=r"2\^32 codes"):
        FixedPoint(16, 16).values()


# Fixed point.


def test_fixed_point_on_paper():
    f = FixedPoint(integer_bits=2, fraction_bits=2)
    assert f.values().tolist() == [
        -2,
        -1.75,
        -1.5,
        -1.25,
        -1,
        -0.75,
        -0.5,
        -0.25,
        0,
        0.25,
        0.5,
        0.75,
        1,
        1.25,
        1.5,
        1.75,
    ]
    x = torch.tensor([0.125, 0.375, -0.125, -0.3, 1.9, -7.0, INF, -INF, NAN, -0.0])
    assert same(f.quantize(x), torch.tensor([0.0, 0.5, 0.0, -0.25, 1.75, -2.0, 1.75, -2.0, NAN, 0.0]))
    away = f.quantize(x, "nearest-away").tolist()[:4]
    assert away == [0.25, 0.5, -0.25, -0.25]
    assert f.quantize(x, "toward-zero").tolist()[:4] == [0.0, 0.25, 0.0, -0.25]
    assert f.encode(x[:4]).tolist() == [0, 2, 0, -1]
    assert f.encode(x[:4]).dtype == torch.int8
    with pytest.raises(ValueError, match="no code for NaN"):
        f.encode(x)
    assert FixedPoint(1, 1, signed=False).values().tolist() == [0, 0.5, 1, 1.5]
    assert FixedPoint(-1, 3).values().tolist() == [-0.25, -0.125, 0, 0.125]
    assert FixedPoint(4, -2).values().tolist() == [-8, -4, 0, 4]


def test_fixed_16_16_needs_float64():
    f = FixedPoint(16, 16)
    assert f.dtype == torch.float64
    assert f.quantize(torch.tensor([1e9])).dtype == torch.float64
    assert f.quantize(torch.tensor([1e9])).item() == 2**15 - 2.0**-16
    codes = torch.tensor([-(2**31), 2**31 - 1, 1])
    assert torch.equal(f.encode(f.decode(codes)).long(), codes)
    assert f.encode(torch.tensor([1.5])).dtype == torch.int32


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", [2, 5, 8])
def test_fixed_point_encode_and_decode_are_inverse(bits, signed):
    for fraction_bits in range(-3, 12, 5):
        f = FixedPoint(bits - fraction_bits, fraction_bits, signed)
        codes = torch.arange(-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else torch.arange(2**bits)
        assert torch.equal(f.encode(f.decode(codes)).long(), codes)
        assert torch.equal(f.quantize(f.values()), f.values())


@pytest.mark.parametrize("arguments", [(0, 0), (1, 0), (-3, 3), (20, 13), (-130, 135), (100, -97)])
def test_fixed_point_refuses_odd_words(arguments):
    with pytest.raises(ValueError, match="not supported"):
        FixedPoint(*arguments)


@pytest.mark.parametrize(
    ("largest", "integer_bits"), [(0.9, 1), (1.0, 2), (0.999, 2), (0.99, 1), (1.5, 2), (100.0, 8), (0.3, 0), (0.0, 2)]
)
def test_dynamic_fixed_point_takes_the_finest_step_that_does_not_clip(largest, integer_bits):
    """8 bits: 0.99 is 126.7 / 128 and fits below 127; 0.999 would be 127.9 and needs the next power of two."""
    x = torch.tensor([largest, -largest / 3, NAN, INF])
    f = DynamicFixedPoint(8)
    assert f.format_for(x) == FixedPoint(integer_bits, 8 - integer_bits)
    y = f.quantize(x)
    assert abs(y[0] - largest) <= f.format_for(x).step / 2
    assert y[2].isnan()
    assert y[3] == f.format_for(x).largest


def test_dynamic_fixed_point_round_trip():
    x = torch.randn(100, generator=torch.Generator().manual_seed(4))
    codes, chosen = DynamicFixedPoint(6).encode(x)
    assert torch.equal(DynamicFixedPoint(6).decode(codes, chosen), DynamicFixedPoint(6).quantize(x))
    assert DynamicFixedPoint(6).values(chosen).numel() == 64
    assert DynamicFixedPoint(8).quantize(torch.tensor([1e-44])).isfinite().all()  # float32's smallest
    assert DynamicFixedPoint(8).quantize(torch.tensor([3.4e38])).isfinite().all()
    assert DynamicFixedPoint(8, signed=False).format_for(torch.tensor([0.9, -5.0])) == FixedPoint(0, 8, False)


# The compiled loop, and life without it.


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def without_numba() -> list[str]:
    """What a new process says: whether importing all of it imported numba, and what it finds where numba is missing."""
    return run("""
import sys
import torch
from course_utils.numerics import affine, block_formats, chunks, format_search
from course_utils.numerics.formats import FORMATS
print("numba" in sys.modules)
sys.modules["numba"] = None  # what is None here cannot be imported
x = torch.linspace(-500, 500, chunks.COMPILED_FROM)
print(FORMATS["e4m3"].quantize(x).unique().numel(), affine.fake_quantize(x, 4.0, 128).unique().numel())
print(block_formats.BLOCK_FORMATS["mxfp4"].quantize(x).abs().max().item(), format_search.search(x * (1.9 / 500)))
print(chunks.compiled_loops())
""").splitlines()


def test_importing_compiles_nothing(without_numba):
    assert without_numba[0] == "False"


def test_without_numba_torch_does_it(without_numba):
    assert without_numba[1:] == ["253 251", "384.0 1", "None"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads in /proc")
def test_one_compilation_for_all_formats_and_no_threads():
    """One for formats with mantissa bits, subnormals and few exponents that saturate, one for those with many, one for
    all others. (Numba loads scipy where it is installed, and that starts threads for its linear algebra, if it may.)"""
    code = """
import os
os.environ["OPENBLAS_NUM_THREADS"] = "1"
import torch
torch.set_num_threads(1)
from course_utils.numerics import affine, chunks
from course_utils.numerics.formats import FORMATS, FloatFormat
x = torch.randn(chunks.COMPILED_FROM)
before = len(os.listdir("/proc/self/task"))
for f in (FORMATS["e4m3"], FORMATS["e5m2"], FORMATS["float16"]):
    f.quantize(x)
from course_utils.numerics import compiled
assert len(compiled.quantize.signatures) == 1
for f in (FORMATS["bfloat16"], FORMATS["float32"]):
    f.quantize(x)
assert len(compiled.quantize.signatures) == 2
for f in (FloatFormat(4, 0), FloatFormat(2, 5, subnormals=False)):
    f.quantize(x)
FORMATS["e5m2"].quantize(x, overflow="infinity")
for x in (x, x.view(-1, 4, 2), x[:].view(2, -1)):
    affine.fake_quantize(x, 0.1, 3)
affine.fake_quantize(x.view(-1, 16), torch.ones(16), torch.arange(16), axis=1)
assert len(os.listdir("/proc/self/task")) == before
print(*(len(k.signatures) for k in (compiled.quantize, compiled.fake_quantize)))
if os.fork() == 0:
    os._exit(int(FORMATS["e4m3"].quantize(torch.ones(chunks.COMPILED_FROM)).sum() != chunks.COMPILED_FROM))
assert os.wait()[1] == 0
"""
    assert run(code).split() == ["3", "1"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak of memory in /proc")
def test_no_temporary_of_full_size_beyond_the_result():
    """Of 8 million numbers, the peak of memory grows by the result and a few blocks; also without the compiled loop."""
    code = """
import torch
from course_utils.numerics import affine, chunks
from course_utils.numerics.formats import FORMATS, FixedPoint

def peak():
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))

torch.set_num_threads(1)
rows = torch.ones(2**11)
calls = {
    "float": lambda x: FORMATS["e4m3"].quantize(x),
    "stochastic": lambda x: FORMATS["e4m3"].quantize(x, "stochastic"),
    "fixed": lambda x: FixedPoint(4, 4).quantize(x),
    "affine": lambda x: affine.fake_quantize(x, 0.1, 3),
    "per channel": lambda x: affine.fake_quantize(x, rows, 3, axis=0),
    "encode": FORMATS["e4m3"].encode,
    "decode": FORMATS["e4m3"].decode,
}
numbers = torch.ones(2**11, 2**12)
codes = FORMATS["e4m3"].encode(numbers)
for chunks.COMPILED_FROM in (2**60, 0):
    for name, call in calls.items():
        x = codes if name == "decode" else numbers
        call(x[:, :512].contiguous())
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # resets the peak
        before = peak()
        result = call(x).nbytes / 2**20
        print(name, result, peak() - before, sep=", ")
"""
    for line in run(code).splitlines():
        name, result, grown = line.split(", ")
        assert float(grown) < float(result) + 16, name
