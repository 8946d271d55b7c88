"""The formulas of the tuwien report against brute force, exact fractions and hand-made examples."""

from __future__ import annotations

import copy
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from course_utils.quantization import power_of_two as p2

ADJUSTMENTS = st.floats(2.0**-24, 4.0)


def error_of(adjustment: float, scale: int, shift: int) -> Fraction:
    return abs(Fraction(adjustment) - scale * Fraction(2) ** shift)


@settings(max_examples=200, deadline=None)
@given(ADJUSTMENTS, st.integers(1, 8))
def test_shift_and_scale_are_the_best_there_are(adjustment, num_bits):
    scale, shift = p2.find_shift_scale(adjustment, num_bits)
    assert 1 <= scale < 2**num_bits
    assert scale % 2 == 1
    every = (error_of(adjustment, s, e) for s in range(1, 2**num_bits) for e in range(-34, 4))
    assert error_of(adjustment, scale, shift) == min(every)


@pytest.mark.parametrize(
    ("adjustment", "num_bits", "pair"),
    [
        (1.0, 8, (1, 0)),
        (0.75, 2, (3, -2)),
        (255 / 1024, 8, (255, -10)),
        (511 / 2048, 8, (1, -2)),  # between 255 * 2^-10 and 256 * 2^-10: up to the even one, which is a power of two
        (0.3, 1, (1, -2)),
        (3.0, 8, (3, 0)),
    ],
)
def test_known_pairs(adjustment, num_bits, pair):
    assert p2.find_shift_scale(adjustment, num_bits) == pair


@settings(max_examples=200, deadline=None)
@given(ADJUSTMENTS, st.integers(2, 16))
def test_the_documents_search_is_never_better(adjustment, num_bits):
    found = p2.document_shift_scale(adjustment, num_bits)
    assert error_of(adjustment, *found) >= error_of(adjustment, *p2.find_shift_scale(adjustment, num_bits))


@pytest.mark.parametrize(
    ("adjustment", "num_bits", "best", "document"),
    [
        # just below 3 * 2^-9: 3 * 2^-9 itself lies above it and is refused, and so is every pair after it
        (0.00585717, 8, (3, -9), (1, -8)),
        (1.5 * 2**-8 * 0.9999, 4, (3, -9), (1, -8)),
        (0.25, 8, (1, -2), (1, -2)),  # its special case
    ],
)
def test_where_the_documents_search_loses(adjustment, num_bits, best, document):
    assert p2.find_shift_scale(adjustment, num_bits) == best
    assert p2.document_shift_scale(adjustment, num_bits) == document


@settings(max_examples=100, deadline=None)
@given(ADJUSTMENTS)
def test_nearest_shift_is_off_by_the_root_of_two_at_worst(adjustment):
    ratio = adjustment / 2.0 ** p2.find_shift(adjustment)
    assert 2**-0.5 * (1 - 1e-12) <= ratio <= 2**0.5 * (1 + 1e-12)


@pytest.mark.parametrize("search", [p2.find_shift, lambda a: p2.find_shift_scale(a, 8)])
@pytest.mark.parametrize("adjustment", [0.0, -0.5, math.inf, math.nan])
def test_adjustments_are_positive(search, adjustment):
    with pytest.raises(ValueError, match="positive and finite"):
        search(adjustment)


def test_scale_and_integers():
    assert p2.integer_scale(2.0, 8) == 63.5
    assert p2.integer_scale(torch.tensor([0.0, 7.0]), 4).tolist() == [1.0, 1.0]
    x = torch.tensor([-3.0, -2.0, -0.4, 0.5, 1.5, 2.0, 9.0])
    assert p2.to_integers(x, 1.0, 2).tolist() == [-2, -2, 0, 0, 1, 1, 1]
    assert p2.to_integers(x, p2.integer_scale(2.0, 8), 8).tolist() == [-128, -127, -25, 32, 95, 127, 127]
    for wrong in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="largest magnitude"):
            p2.integer_scale(wrong, 8)
    for bits in (1, 17):
        with pytest.raises(ValueError, match="2 to 16"):
            p2.integer_scale(1.0, bits)


@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("num_bits", [2, 4, 8, 16])
def test_widened_weights_make_the_adjustment_a_power_of_two(axis, num_bits):
    generator = torch.Generator().manual_seed(num_bits)
    for _ in range(50):
        weight = torch.randn(6, 2, 3, generator=generator) * torch.rand((6, 1, 1), generator=generator)
        q_x, q_y = (10 ** torch.empty(2).uniform_(-2, 3, generator=generator)).double().tolist()
        q_w, shift = p2.power_of_two_weights(weight, q_x, q_y, num_bits, axis=axis)
        assert q_w.shape == shift.shape == (() if axis is None else (6,))
        assert shift.dtype == torch.int64
        # the quotient of three rounded numbers: 3 roundings of 2^-53
        assert torch.allclose(q_y / (q_x * q_w), 2.0 ** shift.double(), rtol=4 * 2.0**-53, atol=0)
        largest = weight.double().abs().max() if axis is None else weight.double().abs().amax((1, 2))
        widest = p2.integer_scale(largest, num_bits)
        # at most one bit, and no code is cut (but for the rounding of q_w)
        assert bool((q_w > widest / 2).all() and (q_w <= widest * (1 + 2.0**-50)).all())


def test_weights_whose_adjustment_is_a_power_of_two_stay_as_they_are():
    q_w, shift = p2.power_of_two_weights(torch.tensor([127.0]), 1.0, 0.25, 8)
    assert (q_w.item(), shift.item()) == (1.0, -2)


def test_outliers():
    generator = torch.Generator().manual_seed(1)
    data = torch.randn(1000, generator=generator) + 3
    mean, deviation = data.double().mean(), data.double().std()
    cut = p2.remove_outliers(data, 2)
    low, high = (mean - 2 * deviation).item(), (mean + 2 * deviation).item()
    assert (cut.min().item(), cut.max().item()) == pytest.approx((low, high), rel=1e-6)
    inside = (data > low + 1e-5) & (data < high - 1e-5)
    assert torch.equal(cut[inside], data[inside])
    # the document's ends are counted from 0: with a mean of 3 they are quite other values
    program, pseudocode = (p2.document_outliers(data, 2, pseudocode=way) for way in (False, True))
    end = 2 * deviation.item()
    assert sorted({round(v, 4) for v in program[~inside].tolist()}) == pytest.approx([-end, end], abs=1e-4)
    assert pseudocode[~inside].tolist() == pytest.approx([end] * int((~inside).sum()), rel=1e-6)
    assert torch.equal(program[inside], data[inside])
    with pytest.raises(ValueError, match="above 0"):
        p2.remove_outliers(data, 0)


@pytest.mark.parametrize("bias", [True, False])
def test_the_fold_as_printed_lacks_gamma_on_the_bias(bias):
    torch.manual_seed(4)
    conv, norm = nn.Conv2d(2, 3, 3, bias=bias), nn.BatchNorm2d(3).eval()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    nn.init.normal_(norm.bias)
    x = torch.randn(4, 2, 5, 5)
    with torch.no_grad():
        # with gamma = 1 the factor that is missing is 1
        assert torch.allclose(p2.document_fold(conv, norm)(x), norm(conv(x)), atol=1e-5)
        nn.init.constant_(norm.weight, 3.0)
        wrong = p2.document_fold(conv, norm)(x) - norm(conv(x))
        b = 0 if conv.bias is None else conv.bias
        lost = (b - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * (1 - 3.0)
        assert torch.allclose(wrong, lost.view(-1, 1, 1).expand_as(wrong), atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["conv", "linear"])
def test_bias_correction_brings_the_mean_back(kind, bias):
    torch.manual_seed(2)
    layer = nn.Conv2d(3, 4, 3, bias=bias) if kind == "conv" else nn.Linear(3, 4, bias=bias)
    x = torch.rand(16, 3, 6, 6) if kind == "conv" else torch.rand(16, 3)
    quantized = copy.deepcopy(layer)
    with torch.no_grad():
        quantized.weight.mul_(8).round_().div_(8)
        quantized.weight[1] += 1
    before = copy.deepcopy(quantized.state_dict())
    axes = (0, 2, 3) if kind == "conv" else 0
    with torch.no_grad():
        error = (p2.correct_bias(layer, quantized, x)(x) - layer(x)).mean(axes)
        assert error.abs().max() < 1e-6  # float32 means of numbers near 1
        plain = (p2.correct_bias(layer, quantized, x, per_channel=False)(x) - layer(x)).mean(axes)
        assert abs(plain.mean()) < 1e-6  # the channels' errors cancel out, and stay
        assert plain.abs().max() > 0.1
    assert all(torch.equal(value, before[key]) for key, value in quantized.state_dict().items())
