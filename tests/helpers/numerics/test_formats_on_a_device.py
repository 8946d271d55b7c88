"""Number formats on a device that is not the CPU: nothing is made beside the input's device, and all results agree.

Where torch finds a CUDA GPU, every function runs there, and its results are compared bit for bit with the CPU's. With
or without one, every function runs on an actor. Its tensors say that they lie on torch's device "meta", keep their
numbers in a CPU tensor inside, and refuse to meet a CPU tensor of one or more dimensions, as a GPU's do. The actor
shows where tensors are made and that no loop for the CPU is entered. It does not show how a GPU computes.
"""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from course_utils.numerics import affine, chunks, format_search
from course_utils.numerics.block_formats import BLOCK_FORMATS, NVFP4
from course_utils.numerics.formats import FORMATS, DynamicFixedPoint, FixedPoint, FloatFormat
from course_utils.numerics.rounding import ROUNDINGS, round_

ELSEWHERE = torch.device("meta")  # a label that torch accepts without a driver; its own kernels are never reached


class Acted(torch.Tensor):
    """A tensor that says it is elsewhere; ``held`` has the numbers."""

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> Acted:
        self = torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), dtype=held.dtype, device=ELSEWHERE
        )
        self.held = held
        return self

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, function, types, arguments=(), keywords=None):
        raise AssertionError(f"{function} ran outside of Elsewhere")


class Elsewhere(TorchDispatchMode):
    """Runs operations of `Acted` tensors on what they hold, unless they meet a CPU tensor there."""

    COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)  # may cross between devices

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        keywords = dict(keywords or {})
        given = [v for v in tree_leaves((arguments, keywords)) if isinstance(v, torch.Tensor)]
        acted = [v for v in given if isinstance(v, Acted)]
        here = [v for v in given if not isinstance(v, Acted) and v.dim() > 0]
        if acted and here and function not in self.COPIES:
            raise RuntimeError(f"{function} on two devices: a CPU tensor of shape {(*here[0].shape,)} is among them")
        wanted = keywords.get("device")
        elsewhere = bool(acted) if wanted is None else torch.device(wanted) == ELSEWHERE
        if wanted is not None:
            keywords["device"] = torch.device("cpu")
        result = function(*tree_map(_held, arguments), **tree_map(_held, keywords))
        # What was written in place or to ``out=`` is returned as the object that was given.
        objects = {id(v.held): v for v in acted}

        def wrap(value):
            if not isinstance(value, torch.Tensor) or not elsewhere:
                return value
            return objects[id(value)] if id(value) in objects else Acted(value)

        return tree_map(wrap, result)


def _held(value):
    return value.held if isinstance(value, Acted) else value


class Actor:
    """As the tests below use a device: numbers go there and come back."""

    device = ELSEWHERE

    def __enter__(self):
        self.mode = Elsewhere()
        self.mode.__enter__()
        return self

    def __exit__(self, *error):
        return self.mode.__exit__(*error)

    def send(self, x: torch.Tensor) -> torch.Tensor:
        return Acted(x.clone())

    def fetch(self, y: torch.Tensor) -> torch.Tensor:
        return y.held

    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(7)


class Gpu:
    device = torch.device("cuda", 0)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return False

    def send(self, x: torch.Tensor) -> torch.Tensor:
        return x.to(self.device)

    def fetch(self, y: torch.Tensor) -> torch.Tensor:
        return y.cpu()

    def generator(self) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(7)


@pytest.fixture(params=["actor", "GPU"])
def place(request, monkeypatch):
    """The compiled loops would take even the smallest tensor, if it were on the CPU."""
    if request.param == "GPU" and not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA GPU: only the actor was tried")
    monkeypatch.setattr(chunks, "COMPILED_FROM", 0)
    return Actor() if request.param == "actor" else Gpu()


def numbers(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 64, generator=generator) * torch.logspace(-6, 6, 6)[:, None]
    x[0, :6] = torch.tensor([0.0, -0.0, 1e30, -1e30, 1e-42, 2.5])
    return x.to(dtype)


def odd_numbers() -> torch.Tensor:
    x = numbers()
    x[1, :3] = torch.tensor([torch.nan, torch.inf, -torch.inf])
    return x


def any_numbers() -> torch.Tensor:
    """Numbers of all magnitudes, subnormals, infinities and NaN among them: random bits."""
    bits = torch.randint(-(2**31), 2**31, (256, 256), generator=torch.Generator().manual_seed(0))
    return bits.to(torch.int32).view(torch.float32)


def agree(place, function, *inputs: torch.Tensor, signs_of_zeros: bool = True) -> None:
    """``function`` of the tensors there gives, on that device, what it gives on the CPU, any NaN being one value."""
    expected = function(*inputs)
    with place:
        results = function(*(place.send(x) for x in inputs))
        for there, here in zip(tree_leaves(results), tree_leaves(expected), strict=True):
            if not isinstance(here, torch.Tensor):
                assert there == here
                continue
            assert there.device == place.device
            assert (there.dtype, there.shape) == (here.dtype, here.shape)
            back = place.fetch(there)
            nan = here.isnan()
            assert torch.equal(nan, back.isnan())
            assert torch.equal(back[~nan], here[~nan])
            if signs_of_zeros:
                assert torch.equal(back[~nan].signbit(), here[~nan].signbit())


def test_the_actor_refuses_what_a_gpu_refuses():
    with Actor() as place:
        x = place.send(torch.ones(3))
        assert x.device == ELSEWHERE
        assert place.fetch(x + 1).tolist() == [2.0] * 3
        assert place.fetch(x * torch.tensor(2.0)).tolist() == [2.0] * 3, "a single number may come from the CPU"
        assert place.fetch(x.add_(1)).tolist() == place.fetch(x).tolist() == [2.0] * 3
        for mixed in (lambda: x + torch.ones(3), lambda: torch.where(x > 0, x, torch.zeros(3)), lambda: x.dot(x.held)):
            with pytest.raises(RuntimeError, match="two devices"):
                mixed()
        with pytest.raises((RuntimeError, TypeError)):
            x.numpy()


DETERMINISTIC = [r for r in ROUNDINGS if r != "stochastic"]
FLOATS = {
    **{name: f for name, f in FORMATS.items() if name != "e8m0"},
    "e3m0": FloatFormat(3, 0),
    "flushing": FloatFormat(3, 3, subnormals=False),
}


@pytest.mark.parametrize("rounding", DETERMINISTIC)
@pytest.mark.parametrize("name", FLOATS)
def test_float_formats(place, name, rounding):
    f = FLOATS[name]
    agree(place, lambda x: f.quantize(x, rounding), odd_numbers())
    agree(place, lambda x: f.quantize(x, rounding), any_numbers())
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        agree(place, lambda x: f.quantize(x.mT, rounding), numbers(dtype))
    if f.has_infinity or f.has_nan:
        agree(place, lambda x: f.quantize(x, rounding, "infinity"), odd_numbers())
    agree(place, lambda x: f.encode(x, rounding), odd_numbers() if f.has_nan else numbers())
    codes = torch.arange(2**f.bits) if f.bits <= 16 else torch.arange(0, 2**f.bits, 2**f.bits // 999)
    agree(place, f.decode, codes)


@pytest.mark.parametrize("rounding", DETERMINISTIC)
def test_the_scale_format(place, rounding):
    f = FORMATS["e8m0"]
    for overflow in ("saturate", "infinity"):
        agree(place, lambda x, o=overflow: f.quantize(x, rounding, o), odd_numbers())
        agree(place, lambda x, o=overflow: f.encode(x, rounding, o), odd_numbers())
    agree(place, f.decode, torch.arange(256))


@pytest.mark.parametrize("f", [FixedPoint(4, 4), FixedPoint(2, 3, False), FixedPoint(16, 16)], ids=str)
def test_fixed_point(place, f):
    for rounding in DETERMINISTIC:
        agree(place, lambda x, r=rounding: f.quantize(x, r), odd_numbers())
        agree(place, lambda x, r=rounding: f.encode(x, r), numbers())
    agree(place, lambda x: f.decode(f.encode(x)), numbers())


def test_dynamic_fixed_point(place):
    f = DynamicFixedPoint(8)
    agree(place, f.format_for, odd_numbers())
    agree(place, f.quantize, odd_numbers())
    agree(place, lambda x: f.decode(*f.encode(x)), numbers())


@pytest.mark.parametrize("f", BLOCK_FORMATS.values(), ids=str)
def test_scales_of_blocks(place, f):
    for x in (odd_numbers(), any_numbers()):
        agree(place, f.scales, x)


@pytest.mark.parametrize("f", [*BLOCK_FORMATS.values(), NVFP4], ids=str)
def test_block_formats(place, f):
    for x in (numbers(), any_numbers()):
        agree(place, f.quantize, x)
        agree(place, f.encode, x)
    for rounding in DETERMINISTIC:
        agree(place, lambda x, r=rounding: f.quantize(x[:, :50], r), odd_numbers())
        agree(place, lambda x, r=rounding: f.encode(x, r), odd_numbers())
    agree(place, lambda x: f.decode(*f.encode(x)), odd_numbers())


def test_a_range_stays_on_its_device_whatever_the_default_is(place):
    try:
        torch.set_default_device("cpu")
        agree(place, lambda x: affine.scale_and_zero_point(*affine.value_range(x)), numbers(), signs_of_zeros=False)
    finally:
        torch.set_default_device(None)


@pytest.mark.parametrize("where", [{}, {"axis": 0}, {"axis": 1}, {"block_size": 16}], ids=str)
@pytest.mark.parametrize("symmetric", [False, True])
def test_affine(place, where, symmetric):
    def ranges(x):
        return affine.scale_and_zero_point(*affine.value_range(x, **where), signed=True, symmetric=symmetric)

    def all_of_it(x):
        scale, zero_point = ranges(x)
        q = affine.quantize(x, scale, zero_point, signed=True, **where)
        back = affine.dequantize(q, scale, zero_point, **where)
        y = affine.fake_quantize(x, scale, zero_point, signed=True, **where)
        return scale, zero_point, q, back, y, affine.mse(x, x), affine.sqnr_db(x, x)

    # The text leaves the sign of zeros open: the compiled loop, run here, and torch, run there, may differ.
    agree(place, all_of_it, numbers(), signs_of_zeros=False)
    agree(place, all_of_it, numbers(torch.float16).clamp(-100, 100), signs_of_zeros=False)
    agree(place, lambda x: affine.fake_quantize(x, 0.5, 3), odd_numbers(), signs_of_zeros=False)
    # Scale and zero point may come from the CPU.
    ours = ranges(numbers())
    agree(place, lambda x: affine.fake_quantize(x, *ours, signed=True, **where), odd_numbers(), signs_of_zeros=False)


def test_error_measures(place):
    """To rounding: a GPU adds in another order."""
    x = numbers()[2:5]
    y = FORMATS["e4m3"].quantize(x)
    with place:
        there = affine.mse(place.send(x), place.send(y)), affine.sqnr_db(place.send(x), place.send(y))
    assert there == pytest.approx((affine.mse(x, y), affine.sqnr_db(x, y)), rel=1e-12)


@pytest.mark.parametrize("word_length", [8, 16])
def test_search_of_the_best_split(place, word_length):
    """To the nine digits that the search promises: a GPU adds in another order."""
    x = numbers()[1:5]
    with place:
        there = format_search.search_errors(place.send(x), word_length)
        assert format_search.search(place.send(x), word_length) == format_search.search(x, word_length)
    assert there == pytest.approx(format_search.search_errors(x, word_length), rel=1e-9)


@pytest.mark.parametrize("rounding", DETERMINISTIC)
def test_whole_numbers(place, rounding):
    agree(place, lambda x: round_(x.clone(), rounding), odd_numbers())


def test_stochastic_rounding_draws_where_the_input_is(place):
    """A device has random numbers of its own, so only what holds for all draws is compared: each result is one of the
    two neighbours, and the same seed gives the same results."""
    x = numbers()
    calls = {
        "float": lambda x, g: FORMATS["e5m2"].quantize(x, "stochastic", generator=g),
        "fixed": lambda x, g: FixedPoint(4, 4).quantize(x, "stochastic", generator=g),
        "block": lambda x, g: BLOCK_FORMATS["mxfp4"].quantize(x, "stochastic", generator=g),
        "affine": lambda x, g: affine.fake_quantize(x, 0.1, 3, rounding="stochastic", generator=g),
        "codes": lambda x, g: affine.quantize(x, 0.1, 3, rounding="stochastic", generator=g),
    }
    for name, call in calls.items():
        with place:
            once, again = (call(place.send(x), place.generator()) for _ in range(2))
            assert once.device == place.device
            once, again = place.fetch(once), place.fetch(again)
        assert torch.equal(once, again), name
    below = FORMATS["e5m2"].quantize(x, "toward-zero")
    with place:
        y = place.fetch(calls["float"](place.send(x), place.generator()))
    assert ((y == below) | (y.abs() > x.abs())).all()
    assert (y.abs() >= below.abs()).all()


def test_more_than_one_block(place, monkeypatch):
    monkeypatch.setattr(chunks, "GPU_BLOCK", 64)
    agree(place, FORMATS["e4m3"].quantize, odd_numbers())
    agree(place, lambda x: affine.fake_quantize(x, torch.ones(6), 3, axis=0), odd_numbers(), signs_of_zeros=False)
