"""The compiled loops: torch's results bit for bit, on any number of threads; and their random numbers."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import gfloat
import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.numerics import chunks
from course_utils.numerics.block_formats import BLOCK_FORMATS, NVFP4, BlockFormat
from course_utils.numerics.fixed_point import DynamicFixedPoint
from course_utils.numerics.formats import FORMATS, FixedPoint, FloatFormat

compiled = pytest.importorskip("course_utils.numerics.compiled")

DETERMINISTIC = ("nearest-even", "nearest-away", "toward-zero")
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
ODD = {
    "ieee e4m3": FloatFormat(4, 3),
    "powers": FloatFormat(4, 0),
    "powers without an end": FloatFormat(3, 0, specials="none"),
    "flushing": FloatFormat(3, 3, subnormals=False),
    "one exponent bit": FloatFormat(1, 4),
    "far down": FloatFormat(7, 8, bias=120),
    "far up": FloatFormat(4, 3, bias=-100),
    "e8m15": FloatFormat(8, 15),
}
FIXED = {str(f): f for f in (FixedPoint(4, 4), FixedPoint(2, 3, False), FixedPoint(16, 16), FixedPoint(20, -12))}
ALL = FORMATS | ODD | FIXED


def both(call) -> tuple:
    """What a function returns with torch's operations, and with the loops from the first element on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "COMPILED_FROM", 2**60)
        eager = call()
        patch.setattr(chunks, "COMPILED_FROM", 0)
        return eager, call()


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal in dtype, shape, every element and the sign of zeros, any NaN being one value."""
    assert (a.dtype, a.shape) == (b.dtype, b.shape)
    if not a.is_floating_point():
        return torch.equal(a, b)
    nan = a.isnan() & b.isnan()
    return bool((nan | ((a == b) & (a.signbit() == b.signbit()))).all())


def numbers(f, dtype: torch.dtype) -> torch.Tensor:
    """Values of the format, middles between them, their neighbours, numbers of all sizes, zeros."""
    generator = torch.Generator().manual_seed(0)
    lowest, highest = f.code_range
    codes = torch.randint(lowest, highest, (300,), generator=generator)
    points = torch.stack([f.decode(codes), f.decode(codes + 1)]).double().nan_to_num(0.0, 0.0, 0.0)
    points = torch.cat([*points, points.mean(0), torch.tensor([0.0, -0.0, f.largest, 2 * f.largest])]).to(dtype)
    ends = (torch.nextafter(points, torch.full_like(points, end)) for end in (-math.inf, math.inf))
    sizes = torch.randn(300, generator=generator, dtype=torch.float64) * torch.logspace(-45, 38, 300).double()
    return torch.cat([points, *ends, sizes.to(dtype)]).nan_to_num(0.0, 1.0, -1.0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ALL)
def test_quantize_and_encode(name, dtype):
    f = ALL[name]
    x = numbers(f, dtype)
    odd = torch.cat([x, torch.tensor([math.inf, -math.inf], dtype=dtype)])
    nan = torch.tensor([math.nan, -math.nan], dtype=dtype)
    for rounding in DETERMINISTIC:
        for overflow in ("saturate", "infinity"):
            if overflow == "infinity" and (isinstance(f, FixedPoint) or not (f.has_nan or f.has_infinity)):
                continue
            given_ = (rounding, overflow)
            assert same(*both(lambda g=given_: f.quantize(torch.cat([odd, nan]), *g))), given_
            assert same(*both(lambda g=given_: f.encode(torch.cat([odd, nan]) if f.has_nan else odd, *g))), given_


@pytest.mark.parametrize("name", ALL)
def test_decode(name):
    f = ALL[name]
    lowest, highest = f.code_range
    if f.bits <= 16:
        codes = torch.arange(lowest, highest + 1)
    else:
        codes = torch.randint(lowest, highest + 1, (9999,), generator=torch.Generator().manual_seed(0))
    for dtype in (f.code_dtype, torch.int64):
        assert same(*both(lambda d=dtype: f.decode(codes.to(d))))
    for wrong in (lowest - 1, highest + 1):
        eager, loop = both(lambda w=wrong: refusal(lambda: f.decode(torch.tensor([0, w]))))
        assert eager == loop != ""


@pytest.mark.parametrize("name", [n for n, f in ALL.items() if not f.has_nan])
def test_nan_has_no_code(name):
    eager, loop = both(lambda: refusal(lambda: ALL[name].encode(torch.tensor([1.0, math.nan]))))
    assert eager == loop != ""


def refusal(call) -> str:
    try:
        call()
    except ValueError as error:
        return str(error)
    return ""


def test_dynamic_fixed_point():
    x = torch.randn(999, generator=torch.Generator().manual_seed(1))
    x[3:6] = torch.tensor([math.nan, math.inf, -math.inf])
    for f in (DynamicFixedPoint(8), DynamicFixedPoint(5, signed=False)):
        for dtype in DTYPES:
            eager, loop = both(lambda f=f, d=dtype: f.format_for(x.to(d)))
            assert eager == loop
    assert both(lambda: DynamicFixedPoint(8).format_for(-torch.ones(3)))[1] == FixedPoint(2, 6)
    assert both(lambda: DynamicFixedPoint(8, False).format_for(-torch.ones(3)))[1] == FixedPoint(1, 7, False)


BLOCKS = BLOCK_FORMATS | {
    "nvfp4": NVFP4,
    "pairs": BlockFormat(FORMATS["e2m1"], 2),
    "long": BlockFormat(FORMATS["e4m3"], 2048),
    "below one half": BlockFormat(FixedPoint(-1, 6), 16),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", BLOCKS)
def test_block_formats(name, dtype):
    """Blocks of all sizes from float32's smallest to its largest, with zeros, NaN and infinities among them."""
    f = BLOCKS[name]
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(140, 250, generator=generator) * torch.exp2(torch.linspace(-150, 126, 140))[:, None]
    x[3, 5], x[70, 7], x[71, 60], x[5], x[6] = math.nan, math.inf, -math.inf, 0.0, -0.0
    for case in (x.to(dtype), x[:70].clamp(-1e30, 1e30).to(dtype)):
        for rounding in DETERMINISTIC:
            assert same(*both(lambda c=case, r=rounding: f.quantize(c, r)))
            for eager, loop in zip(*both(lambda c=case, r=rounding: f.encode(c, r)), strict=True):
                assert same(eager, loop)
        if dtype != torch.float64:  # decoding gives a float32
            assert same(f.decode(*f.encode(case)), f.quantize(case))


# Threads.


@pytest.fixture
def small_slices(monkeypatch):
    """Many slices even of a small tensor."""
    threads = torch.get_num_threads()
    monkeypatch.setattr(chunks, "COMPILED_FROM", 0)
    monkeypatch.setattr(chunks, "SLICE", 64)
    yield
    torch.set_num_threads(threads)


CALLS = {
    "quantize": lambda x, g: FORMATS["e4m3"].quantize(x, "stochastic", generator=g),
    "encode": lambda x, g: FORMATS["e5m2"].encode(x, "stochastic", generator=g),
    "float64": lambda x, g: FORMATS["e5m2"].encode(x.double(), "stochastic", generator=g),
    "decode": lambda x, g: FORMATS["e4m3"].decode(FORMATS["e4m3"].encode(x)),
    "dynamic": lambda x, g: DynamicFixedPoint(8).quantize(x, "stochastic", generator=g),
    "e8m0": lambda x, g: FORMATS["e8m0"].quantize(x.abs(), "stochastic", generator=g),
    "blocks": lambda x, g: BLOCK_FORMATS["mxfp4"].quantize(x, "stochastic", generator=g),
    "nvfp4": lambda x, g: NVFP4.decode(*NVFP4.encode(x, "stochastic", generator=g)),
}


@pytest.mark.parametrize("name", CALLS)
def test_any_number_of_threads_gives_the_same(name, small_slices):
    x = torch.randn(33, 32, generator=torch.Generator().manual_seed(3))
    results = []
    for threads in (1, 2, 3, 50):
        torch.set_num_threads(threads)
        results.append(CALLS[name](x, torch.Generator().manual_seed(4)))
    for other in results[1:]:
        assert torch.equal(other, results[0])


def test_what_one_slice_finds_is_found(small_slices):
    torch.set_num_threads(3)
    x = torch.ones(999)
    x[-1] = math.nan
    with pytest.raises(ValueError, match="no code for NaN"):
        FORMATS["e2m1"].encode(x)
    codes = torch.zeros(999, dtype=torch.int32)
    codes[-1] = 16
    with pytest.raises(ValueError, match="16"):
        FORMATS["e2m1"].decode(codes)


@pytest.fixture
def run_by(monkeypatch):
    """Has `compiled.run` call a loop of the test's, and tell it how many threads it has: 1 where it runs alone."""

    def run(threads, loop):
        compiled.run("decode", threads, loop, compiled.slices(64))

    monkeypatch.setattr(compiled, "decode", lambda loop, shared: loop(1))
    monkeypatch.setattr(compiled, "_on_threads", lambda name: lambda threads, loop, shared: loop(threads))
    return run


def test_a_tensor_of_several_slices_has_several_threads(small_slices):
    torch.set_num_threads(2)
    for elements, wanted in ((64, 1), (65, 2), (999, 2)):
        seen = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compiled, "run", lambda name, threads, *_, seen=seen: seen.append(threads))
            chunks.in_slices("decode", torch.ones(elements))
        assert seen == [wanted]


def test_threads_are_started(small_slices):
    torch.set_num_threads(2)
    FORMATS["e4m3"].quantize(torch.ones(999))
    assert numba.threading_layer()  # raises as long as nothing has run on several threads


def test_who_comes_while_another_has_the_threads_works_alone(run_by):
    first, second, seen = threading.Event(), threading.Event(), []

    def waits(threads):
        seen.append(threads)
        first.set()
        assert second.wait(60)

    other = threading.Thread(target=run_by, args=(2, waits))
    other.start()
    assert first.wait(60)
    run_by(2, seen.append)
    second.set()
    other.join()
    run_by(2, seen.append)
    assert seen == [2, 1, 2]


def test_what_a_loop_raises_leaves_the_threads_to_others(run_by):
    def refuse(threads):
        raise MemoryError

    seen = []
    with pytest.raises(MemoryError):
        run_by(2, refuse)
    run_by(2, seen.append)
    assert seen == [2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # later Pythons warn of every fork of a process with threads
def test_a_fork_does_without_threads(small_slices):
    """The parent has used its threads. The child would wait for them for ever, or numba would end it."""
    torch.set_num_threads(2)
    x = torch.linspace(-9, 9, 1000)
    y = FORMATS["e4m3"].quantize(x)
    if (child := os.fork()) == 0:
        signal.alarm(60)
        same_there = False
        try:
            same_there = torch.equal(FORMATS["e4m3"].quantize(x), y)
        finally:
            os._exit(not same_there)
    assert os.waitpid(child, 0)[1] == 0
    assert torch.equal(FORMATS["e4m3"].quantize(x), y)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory) -> dict[str, str]:
    """Tells what two processes said that had a copy of the package to themselves; a home folder is beside it."""
    folder = tmp_path_factory.mktemp("elsewhere")
    source = Path(compiled.__file__).parents[1]
    shutil.copytree(source, folder / "course_utils", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "home").mkdir()
    code = f"""
import os, sys
sys.path.insert(0, {str(folder)!r})
import torch
torch.set_num_threads(1)

def run():
    from course_utils.numerics import chunks, compiled
    from course_utils.numerics.formats import FORMATS
    assert compiled.__file__.startswith({str(folder)!r})
    chunks.COMPILED_FROM = 0
    return compiled, FORMATS["e4m3"]

def not_to_be_written():
    os.access = lambda *_: False
    compiled, f = run()
    print("not to be written:", f.quantize(torch.tensor([1.05])).item(), compiled.quantize.stats.cache_path, flush=True)

def sandbox_entered_after_the_import():
    compiled, f = run()
    f.quantize(torch.ones(3))
    kept = os.listdir(os.path.dirname(compiled.__file__) + "/__pycache__")
    def refuse(*_, **__):
        raise PermissionError
    import numba.core.caching
    numba.core.caching.IndexDataCacheFile._open_for_write = refuse
    print("sandbox:", any(name.endswith(".nbc") for name in kept), f.encode(torch.ones(3)).tolist(), flush=True)

for work in (not_to_be_written, sandbox_entered_after_the_import):
    if (child := os.fork()) == 0:
        work()
        os._exit(0)
    os.waitpid(child, 0)
"""
    environment = os.environ | {"HOME": str(folder / "home")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=folder)
    assert not list((folder / "home").iterdir())
    return dict(line.split(": ") for line in done.stdout.splitlines()) or {"": done.stderr}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_folder_that_cannot_be_written(elsewhere):
    """Then nothing is kept on disk, and all works."""
    assert elsewhere["not to be written"] == "1.0 None"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_sandbox_entered_after_the_import(elsewhere):
    """As a candidate is: forked off a process that could write, and then no more."""
    assert elsewhere["sandbox"] == "True [56, 56, 56]"


# Random numbers. Bounds are five standard deviations, which chance exceeds once in 1.7 million.

COUNT = 2**20


def draws(key: int, count: int = COUNT) -> np.ndarray:
    """The 24 bits that each element of a float32 call gets: splitmix64 by the same formula, in numpy."""
    z = np.uint64(key) + np.arange(count, dtype=np.uint64) * np.uint64(compiled.STRIDE)
    return (compiled._mix.py_func(z) >> np.uint64(40)).astype(np.int64)


def test_splitmix64_as_published():
    """The reference implementation, seeded with 1234567, gives these; it steps before it mixes."""
    z = np.uint64(1234567) + np.arange(1, 4, dtype=np.uint64) * np.uint64(compiled.STRIDE)
    first = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert compiled._mix.py_func(z).tolist() == first


@pytest.fixture
def loops(monkeypatch):
    monkeypatch.setattr(chunks, "COMPILED_FROM", 0)


def test_the_generator_decides(loops):
    x = torch.randn(1000, generator=torch.Generator().manual_seed(6))
    for call in CALLS.values():
        once, again = (call(x, torch.Generator().manual_seed(7)) for _ in range(2))
        assert torch.equal(once, again)
    generator = torch.Generator().manual_seed(7)
    state = generator.get_state()
    first, second = (FORMATS["e4m3"].quantize(x, "stochastic", generator=generator) for _ in range(2))
    assert not torch.equal(first, second)
    generator.set_state(state)
    assert torch.equal(FORMATS["e4m3"].decode(FORMATS["e4m3"].encode(x, "stochastic", generator=generator)), first)
    torch.manual_seed(8)
    default = FORMATS["e4m3"].quantize(x, "stochastic")
    torch.manual_seed(8)
    assert torch.equal(FORMATS["e4m3"].quantize(x, "stochastic"), default)
    assert not torch.equal(default, first)


@pytest.mark.parametrize("name", ["e4m3", "e5m2", "e3m2", "bfloat16"])
def test_gfloat_goes_up_with_the_same_draws(name, loops):
    """Up if the fraction exceeds the draw; gfloat takes 2^24 - 1 - k to the same end, see test_formats_exact."""
    from test_formats_exact import as_gfloat

    f = FORMATS[name]
    x = torch.randn(20000, generator=torch.Generator().manual_seed(9)) * 4
    x = x[(x.abs() >= f.smallest / 2) & (x.abs() <= f.largest)]
    key = chunks.draw_key("stochastic", torch.Generator().manual_seed(10))
    mine = f.quantize(x, "stochastic", generator=torch.Generator().manual_seed(10))
    bits = 2**24 - 1 - draws(key, len(x))
    info = as_gfloat(f)
    theirs = gfloat.round_ndarray(info, x.double().numpy(), gfloat.RoundMode.Stochastic, True, bits, 24)
    assert np.array_equal(mine.double().numpy(), theirs)


@pytest.mark.parametrize("fraction", [0.0, 2.0**-20, 2.0**-10, 0.1, 0.5, 0.9, 1 - 2.0**-10])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("f", [FORMATS["e4m3"], FORMATS["e2m1"], FORMATS["e8m0"], FixedPoint(4, 2)], ids=str)
def test_unbiased(f, dtype, fraction, loops):
    """Between 1 and its neighbour the mean is the number."""
    step = 1.0 if str(f) == "e8m0" else f.step if isinstance(f, FixedPoint) else 2.0**-f.mantissa_bits
    x = torch.full((COUNT,), 1 + fraction * step, dtype=dtype)
    fraction = float(x[0] - 1) / step  # what the dtype has of it
    y = f.quantize(x, "stochastic", generator=torch.Generator().manual_seed(11))
    up = (y - 1) / step
    assert ((up == 0) | (up == 1)).all()
    deviation = math.sqrt(fraction * (1 - fraction) / COUNT)
    assert abs(float(up.double().mean()) - fraction) <= 5 * deviation


KEYS = [0, 1, 2**62 + 12345, chunks.draw_key("stochastic", torch.Generator().manual_seed(12))]


def chi_square(counts: np.ndarray) -> float:
    """In standard deviations from what equal chances give."""
    expected = counts.sum() / counts.size
    return ((((counts - expected) ** 2).sum() / expected) - (counts.size - 1)) / math.sqrt(2 * (counts.size - 1))


@pytest.mark.parametrize("key", KEYS)
def test_all_24_bits_are_equally_distributed(key):
    d = draws(key)
    for bit in range(24):
        assert abs((d >> bit & 1).mean() - 0.5) <= 5 * 0.5 / math.sqrt(COUNT), bit
    for shift in (0, 6, 12):  # 12 bits at a time
        assert abs(chi_square(np.bincount(d >> shift & 0xFFF, minlength=2**12))) <= 5


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("lag", [1, 2, 3, 16, 32, 1024])
def test_elements_are_independent(key, lag):
    """Six bits of an element against six of another: all pairs equally often, at both ends of the 24."""
    d = draws(key)
    for shift in (0, 18):
        a = d >> shift & 63
        assert abs(chi_square(np.bincount(a[:-lag] * 64 + a[lag:], minlength=2**12))) <= 5


def test_calls_are_independent():
    """One call after the other, and first calls of generators with neighbouring seeds."""
    generator = torch.Generator().manual_seed(13)
    keys = [chunks.draw_key("stochastic", generator) for _ in range(4)]
    keys += [chunks.draw_key("stochastic", torch.Generator().manual_seed(seed)) for seed in (14, 15, 16)]
    assert len(set(keys)) == len(keys)
    tops = [draws(key, 2**18) >> 18 for key in keys]
    for i, a in enumerate(tops):
        for b in tops[:i]:
            assert abs(chi_square(np.bincount(a * 64 + b, minlength=2**12))) <= 5


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20).map(torch.tensor))
def test_stochastic_rounding_takes_a_neighbour(x):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "COMPILED_FROM", 0)
        for f in (FORMATS["e4m3"], FORMATS["bfloat16"], ODD["powers"], ODD["flushing"], FixedPoint(4, 4)):
            for case in (x, x.double()):
                below, y = f.quantize(case, "toward-zero"), f.quantize(case, "stochastic")
                inside = case.abs() <= f.largest
                one_step = torch.where(y == below, 0, (y - case).abs() <= (y - below).abs())
                assert ((y == below) | (one_step > 0) | ~inside).all()
                assert torch.equal(f.quantize(y, "stochastic"), y)
