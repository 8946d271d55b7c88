"""The search for the best split of a word, against the loop that defines it."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.networks.darknet import load_darknet
from course_utils.numerics import chunks, format_search
from course_utils.numerics.format_search import SPLITS, search, search_errors, search_network, split
from course_utils.numerics.formats import FloatFormat

# `search_errors` promises 2^-30. The loop's own sum, of n numbers of one sign, loses at most n * 2^-53 of itself, which
# is 2^-32, since no tensor here has more than 2^21.
NINE_DIGITS = 2.0**-30 + 2.0**-32


@pytest.fixture(params=["torch", "compiled"])
def loop(request, monkeypatch) -> str:
    """Runs a test with torch's own operations, and again with the compiled loop from the first element on."""
    monkeypatch.setattr(chunks, "COMPILED_FROM", 0 if request.param == "compiled" else 2**60)
    return request.param


def naive_errors(x: torch.Tensor, word_length: int) -> dict[int, float]:
    """Written out from the lab's text, and with `FloatFormat` for nothing but the rounding."""
    errors = {}
    for e in range(1, 7) if word_length == 8 else range(1, 8):
        y = FloatFormat(exponent_bits=e, mantissa_bits=word_length - 1 - e).quantize(x)
        errors[e] = float((x.double() - y.double()).square().mean())
    return errors


def naive(x: torch.Tensor, word_length: int) -> int:
    errors = naive_errors(x, word_length)
    return min(errors, key=lambda e: errors[e])


def agree(x: torch.Tensor, word_length: int) -> None:
    errors, expected = search_errors(x, word_length), naive_errors(x, word_length)
    assert list(errors) == list(expected)
    assert list(errors.values()) == pytest.approx(list(expected.values()), rel=NINE_DIGITS, abs=0)
    assert search(x, word_length) == naive(x, word_length)


def normal(*shape: int, scale: float = 1.0, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale


@pytest.mark.parametrize("word_length", [8, 16])
@pytest.mark.parametrize("scale", [1e-30, 1e-10, 1e-4, 0.02, 0.3, 1.0, 7.0, 300.0, 1e5, 1e12, 1e30])
def test_normal_numbers_of_all_sizes(scale, word_length, loop):
    agree(normal(3, 1000, scale=scale), word_length)
    sizes = torch.exp2(torch.linspace(-20, 20, 3000))
    agree(normal(3000, scale=scale) * sizes, word_length)


@pytest.mark.parametrize("word_length", [8, 16])
@pytest.mark.parametrize("e", range(1, 8))
def test_values_midpoints_and_their_neighbours(word_length, e, loop):
    """Where rounding turns over, every split's numbers are seen by every other split."""
    if e not in SPLITS[word_length]:
        return
    values = split(e, word_length).values()
    middles = ((values[1:].double() + values[:-1].double()) / 2).float()
    beyond = torch.tensor([1.0, 1.01, 1.5, 2.0, 3.0]) * values[-1]
    for points in (values, middles, beyond):
        agree(points, word_length)
        agree(torch.nextafter(points, torch.tensor(math.inf)), word_length)
        agree(torch.nextafter(points, torch.tensor(-math.inf)), word_length)
    assert search_errors(values, word_length)[e] == 0.0


special = st.sampled_from([0.0, -0.0, 1e-45, -1e-45, 2.0**-126, 3.4e38, -3.4e38, 1.96875, 2.0, 0.03125])
near_one = st.floats(-4, 4, width=32)
anywhere = st.floats(width=32, allow_nan=False, allow_infinity=False)
tensors = st.lists(st.one_of(near_one, anywhere, special), min_size=1, max_size=40).map(
    lambda v: torch.tensor(v, dtype=torch.float32)
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(tensors, st.sampled_from([8, 16]), st.sampled_from([0, 2**60]))
def test_the_loop_and_the_search_agree(x, word_length, compiled_from):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "COMPILED_FROM", compiled_from)
        agree(x, word_length)


def real_layers(course_data, name: str) -> dict[str, torch.Tensor]:
    folder = course_data / "darknet"
    network = load_darknet(folder / f"{name}.cfg", folder / f"{name}.weights")
    return {key: value.detach() for key, value in network.named_parameters()}


@pytest.mark.parametrize("word_length", [8, 16])
@pytest.mark.parametrize("name", ["yolov3-tiny-aix2022", "yolo-fastest-1.1", "tiny"])
def test_all_layers_of_real_networks(course_data, name, word_length, loop):
    layers = real_layers(course_data, name)
    assert sum(x.dim() == 4 for x in layers.values()) > 10
    found = search_network(layers, word_length)
    assert list(found) == list(layers)
    for key, x in layers.items():
        expected = naive_errors(x, word_length)
        assert list(found[key].errors.values()) == pytest.approx(list(expected.values()), rel=NINE_DIGITS, abs=0)
        assert found[key].exponent_bits == naive(x, word_length), key
        assert found[key].format == FloatFormat(found[key].exponent_bits, word_length - 1 - found[key].exponent_bits)


# Ties.


def test_of_equals_the_fewest_exponent_bits(loop):
    """Zeros have no error in any split. Multiples of 1/32 below 1.97 are exact with one exponent bit and with two."""
    for word_length in (8, 16):
        assert search(torch.zeros(5), word_length) == 1
        assert set(search_errors(torch.zeros(5), word_length).values()) == {0.0}
    x = torch.arange(-63, 64) / 32
    errors = search_errors(x)
    assert errors[1] == errors[2] == 0 < errors[3]
    assert search(x) == 1
    uniform = torch.rand(10000, generator=torch.Generator().manual_seed(0)) * 1.9
    errors = search_errors(uniform)
    assert errors[1] == errors[2] == min(errors.values()), "the same values below 2, so the same error, and the least"
    assert search(uniform) == 1 == naive(uniform, 8)


@pytest.mark.parametrize("word_length", [8, 16])
@pytest.mark.parametrize("wrong", [-1, 1])
def test_the_last_digits_of_a_sum_do_not_decide(wrong, word_length, loop, monkeypatch):
    """With one exponent bit and with two the values below 2 are the same, but the largest of one bit is the step before
    2. Of 8-bit words, a number just above the middle between these makes two bits better by 1e-10 of the error. The
    sums are falsified by more than that, in either direction, and the choice is still the loop's."""
    tied = torch.rand(10**6, generator=torch.Generator().manual_seed(0)) * 1.9
    nearly = torch.cat([tied, torch.nextafter(torch.tensor([(split(1, 8).largest + 2) / 2]), torch.tensor(2.0))])
    expected = naive_errors(nearly, 8)
    assert 0 < expected[1] / expected[2] - 1 < format_search.CLOSE / 4
    name = f"_of_{word_length}_bits"
    sums = getattr(format_search, name)

    def falsified(*arguments):
        total, lost = sums(*arguments)
        total[0] *= 1 + wrong * format_search.CLOSE / 2
        return total, lost

    monkeypatch.setattr(format_search, name, falsified)
    assert search(tied, word_length) == 1 == naive(tied, word_length)
    if word_length == 8:
        assert search(nearly, word_length) == 2 == naive(nearly, word_length)


def test_where_the_sum_cancels_the_definition_is_used(loop, monkeypatch):
    """Numbers just below the upper edges of their cells, where that edge is a value: the sums are a million times the
    error."""
    asked = []
    by_definition = format_search._by_definition
    monkeypatch.setattr(format_search, "_by_definition", lambda *a: asked.append(a[1]) or by_definition(*a))
    x = torch.nextafter(torch.arange(32, 63) / 32, torch.tensor(-math.inf))
    agree(x, 8)
    assert 1 in asked


# Inputs.


def test_layouts_and_dtypes(loop):
    x = normal(40, 30, scale=0.1)
    for word_length in (8, 16):
        whole = search_errors(x, word_length)
        assert search_errors(x.mT, word_length) == pytest.approx(whole, rel=NINE_DIGITS)
        assert search_errors(x[:, ::2], word_length) == search_errors(x[:, ::2].clone(), word_length)
        for dtype in (torch.float16, torch.bfloat16):
            assert search_errors(x.to(dtype), word_length) == search_errors(x.to(dtype).float(), word_length)
        assert search(torch.tensor(0.3), word_length) == naive(torch.tensor(0.3), word_length)
        assert search(torch.nn.Parameter(x), word_length) == search(x, word_length)


def test_more_than_one_block(loop, monkeypatch):
    x = normal(1000, scale=0.1)
    for word_length in (8, 16):
        monkeypatch.setattr(format_search, "BLOCK", 2**16)
        whole = search_errors(x, word_length)
        monkeypatch.setattr(format_search, "BLOCK", 97)
        assert search_errors(x, word_length) == pytest.approx(whole, rel=NINE_DIGITS, abs=0)


def test_refusals(loop):
    x = torch.ones(4)
    for function in (search, search_errors, lambda x, *w: search_network({"layer": x}, *w)):
        with pytest.raises(ValueError, match="8 or 16, not 12"):
            function(x, 12)
        with pytest.raises(TypeError, match=r"float64: call x.float\(\)"):
            function(x.double(), 8)
        with pytest.raises(TypeError, match="int64"):
            function(x.long(), 8)
        with pytest.raises(TypeError, match="list"):
            function([1.0], 8)
        with pytest.raises(ValueError, match="empty"):
            function(torch.ones(0, 3), 8)
        for bad in (math.nan, math.inf, -math.inf):
            for word_length in (8, 16):
                with pytest.raises(ValueError, match="finite"):
                    function(torch.tensor([1.0, bad]), word_length)
    with pytest.raises(ValueError, match=r"^second: an empty"):
        search_network({"first": x, "second": x[:0]})
    with pytest.raises(ValueError, match="1 to 6: 7"):
        split(7, 8)
    assert search_network({}) == {}
