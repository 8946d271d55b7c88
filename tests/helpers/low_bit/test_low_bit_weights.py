"""Weights of few bits: each formula by hand, the optimality that the papers claim, the gradients that they define."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.low_bit import levels, weights
from course_utils.low_bit.straight_through import sign, straight_through

SHAPES = [(5, 3, 2, 2), (4, 7)]


@pytest.fixture
def g():
    return torch.Generator().manual_seed(11)


def normal(g, *shape):
    return torch.randn(*shape, generator=g, dtype=torch.float64)


def gradient(function, w, upstream):
    w = w.clone().requires_grad_()
    function(w).backward(upstream)
    return w.grad


def error(w, value):
    return float(((w - value) ** 2).sum())


def test_a_straight_through_value_is_itself_bit_for_bit(g):
    x, value = torch.randn(100, generator=g) * 1e-6, torch.randn(100, generator=g) * 1e6
    assert torch.equal(straight_through(x, value), value)


def test_sign_has_no_third_value():
    x = torch.tensor([-0.0, 0.0, -1e-45, 1e-45, -torch.inf, torch.inf, torch.nan])
    assert sign(x).tolist() == [1, 1, -1, 1, -1, 1, -1]


@pytest.mark.parametrize("shape", SHAPES)
def test_binarize(g, shape):
    w, upstream = normal(g, *shape), normal(g, *shape)
    w.view(-1)[0] = 0
    seen = weights.binarize(w)
    assert seen.unique().tolist() == [-1, 1] and bool((seen.sign() * w >= 0).all()) and seen.view(-1)[0] == 1
    assert torch.equal(gradient(weights.binarize, w, upstream), upstream)


def test_stochastic_signs_have_the_clipped_weight_as_expectation(g):
    w = torch.tensor([-2.0, -1.0, -0.6, 0.0, 0.3, 1.0, 5.0])
    draws = weights.binarize_stochastic(w.expand(40_000, 7), generator=g)
    assert draws.unique().tolist() == [-1, 1]
    mean, spread = w.clamp(-1, 1), (1 - w.clamp(-1, 1) ** 2).sqrt() / 200
    assert bool(((draws.mean(0) - mean).abs() <= 5 * spread).all())
    again = weights.binarize_stochastic(w.expand(40_000, 7), generator=torch.Generator().manual_seed(11))
    assert torch.equal(draws, again)
    upstream = torch.randn(7)
    assert torch.equal(gradient(weights.binarize_stochastic, w, upstream), upstream)


@pytest.mark.parametrize("shape", SHAPES)
def test_mean_magnitude_is_the_best_scale_of_signs(g, shape):
    w = normal(g, *shape)
    seen = weights.binary_weight(w)
    for filter, got in zip(w, seen, strict=True):
        # of all patterns of signs (by brute force where they are few) and all scales, least squares
        flat = filter.flatten()
        codes = (
            torch.tensor(np.indices([2] * flat.numel()).reshape(flat.numel(), -1).T * 2.0 - 1)
            if flat.numel() < 13
            else None
        )
        if codes is not None:
            scales = (codes @ flat / flat.numel()).clamp(min=0)
            best = float(((scales[:, None] * codes - flat) ** 2).sum(1).min())
            assert error(filter, got) == pytest.approx(best, rel=1e-12)
        alpha = float(flat.abs().mean())
        assert torch.allclose(got.flatten(), alpha * sign(flat), rtol=1e-15)
        for other in (0.99 * alpha, 1.01 * alpha):
            n = flat.numel()  # the parabola: n (alpha - other)^2 more
            more = error(flat, other * sign(flat)) - error(flat, alpha * sign(flat))
            assert more == pytest.approx(n * (alpha - other) ** 2, rel=1e-9)


def test_binary_weight_has_the_papers_gradient(g):
    w, upstream = normal(g, 3, 8), normal(g, 3, 8)
    alpha = w.abs().mean(1, keepdim=True)
    expected = upstream * (1 / 8 + alpha * (w.abs() <= 1))
    assert torch.allclose(gradient(weights.binary_weight, w, upstream), expected, rtol=1e-15)


def brute_ternary(w):
    """(error, threshold range, alpha): every threshold between two magnitudes, each with its best scale."""
    size = w.abs().flatten().numpy()
    cuts = np.unique(size)
    best = None
    for cut in [0.0, *cuts[:-1]] if cuts[0] > 0 else cuts[:-1]:
        kept = size > cut
        alpha = size[kept].mean()
        total = float(((size - alpha * kept) ** 2).sum())
        if best is None or total < best[0]:
            best = total, (cut, cuts[cuts > cut][0]), alpha
    return best


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(-3, 3, allow_subnormal=False), min_size=1, max_size=12).filter(
        lambda x: any(abs(v) > 1e-3 for v in x)
    )
)
def test_optimal_ternary_is_the_brute_force_one(values):
    w = torch.tensor(values, dtype=torch.float64)
    threshold, alpha = levels.optimal_ternary(w)
    least, _, _ = brute_ternary(w)
    seen = alpha * sign(w) * (w.abs() > threshold)
    assert error(w, seen) == pytest.approx(least, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("kind", "ratio", "cost"),
    [  # the exact threshold as a multiple of mean |w|, and the error of 0.7 as a multiple of the least; see below
        ("normal", 0.767, 1.0076),
        ("uniform", 2 / 3, 1.0038),
        ("laplace", 1.0, 1.0689),
    ],
)
def test_how_far_the_ternary_threshold_is_from_the_best(g, kind, ratio, cost):
    """The figures of the three densities, by integration: `exact` below; a sample comes near them."""

    def exact(factor):
        """Squared error of a threshold at ``factor`` times the mean magnitude, with its best scale."""
        x = (torch.arange(20_000, dtype=torch.float64) + 0.5) * 1e-3
        density = {"normal": (-x * x / 2).exp(), "uniform": (x < 1).double(), "laplace": (-x).exp()}[kind]
        density = density / density.sum()
        kept = x > factor * (density * x).sum()
        return float((density * x * x).sum() - (density * x)[kept].sum() ** 2 / density[kept].sum())

    least = min(np.arange(0.5, 1.2, 0.005), key=exact)
    assert least == pytest.approx(ratio, abs=0.01)
    assert exact(0.7) / exact(least) == pytest.approx(cost, abs=5e-4)
    count = 200_000
    u = torch.rand(count, generator=g, dtype=torch.float64) * 2 - 1
    w = {"normal": normal(g, count), "uniform": u, "laplace": -u.sign() * (1 - u.abs()).log()}[kind]
    threshold, alpha = levels.optimal_ternary(w)
    assert threshold / float(w.abs().mean()) == pytest.approx(ratio, abs=0.05)
    best = error(w, alpha * sign(w) * (w.abs() > threshold))
    assert error(w, weights.ternary_weight(w[None])[0]) / best == pytest.approx(cost, abs=5e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_ternary_weight(g, shape):
    w, upstream = normal(g, *shape), normal(g, *shape)
    w[1] *= 10  # each filter has a threshold and a scale of its own
    for filter, seen in zip(w.flatten(1).tolist(), weights.ternary_weight(w).flatten(1).tolist(), strict=True):
        delta = 0.7 * sum(map(abs, filter)) / len(filter)
        kept = [abs(v) for v in filter if abs(v) > delta]
        alpha = sum(kept) / len(kept)
        assert seen == pytest.approx([0.0 if abs(v) <= delta else math.copysign(alpha, v) for v in filter], rel=1e-14)
    assert torch.equal(gradient(weights.ternary_weight, w, upstream), upstream)
    assert torch.equal(weights.ternary_weight(torch.zeros(shape)), torch.zeros(shape))


def test_trained_ternary_has_true_gradients_for_its_scales(g):
    w = normal(g, 6, 5)
    scales = [torch.tensor(s, dtype=torch.float64, requires_grad=True) for s in (0.7, 1.3)]
    assert torch.autograd.gradcheck(lambda p, n: weights.trained_ternary(w, p, n, 0.2), scales)
    upstream = normal(g, 6, 5)
    shadow = w.clone().requires_grad_()
    seen = weights.trained_ternary(shadow, *scales, 0.2)
    seen.backward(upstream)
    delta = 0.2 * w.abs().max()
    above, below = w > delta, w < -delta
    assert bool(above.any() and below.any() and (~above & ~below).any())
    assert torch.equal(seen.detach(), 0.7 * above.double() - 1.3 * below.double())
    assert float(scales[0].grad) == pytest.approx(float(upstream[above].sum()))
    assert float(scales[1].grad) == pytest.approx(-float(upstream[below].sum()))
    assert torch.equal(shadow.grad, upstream * (0.7 * above.double() + 1.3 * below.double() + (~above & ~below)))


def test_dorefa_weight(g):
    w, upstream = normal(g, 4, 6), normal(g, 4, 6)
    assert torch.allclose(weights.dorefa_weight(w, 1), w.abs().mean() * sign(w), rtol=1e-15)
    assert torch.equal(gradient(lambda w: weights.dorefa_weight(w, 1), w, upstream), upstream)
    seen = weights.dorefa_weight(w, 3)
    steps = (seen + 1) / 2 * 7
    assert torch.allclose(steps, steps.round(), atol=1e-12) and seen.abs().max() == 1

    def smooth(w):  # what is rounded, without the rounding: its gradient is the true one
        return torch.tanh(w) / torch.tanh(w).abs().max()

    assert float((seen - smooth(w)).abs().max()) <= 1 / 7 + 1e-12
    assert torch.autograd.gradcheck(smooth, w.clone().requires_grad_())
    mine = gradient(lambda w: weights.dorefa_weight(w, 3), w, upstream)
    assert torch.allclose(mine, gradient(smooth, w, upstream), rtol=1e-12)


@pytest.mark.parametrize(("bits", "top", "signed", "per_octave"), [(4, 2, False, 1), (5, -3, True, 2), (4, 0, True, 1)])
def test_log_quantize(g, bits, top, signed, per_octave):
    x = normal(g, 400) * 2.0 ** torch.randint(-9, 5, (400,), generator=g)
    x[0] = 0
    count = 2 ** (bits - signed) - 1
    exponents = range(top - count + 1, top + 1)

    def by_hand(v):
        if v == 0 or (v < 0 and not signed):
            return 0.0
        e = round(math.log2(abs(v)) * per_octave)
        if e < exponents[0]:
            return 0.0
        return math.copysign(2 ** (min(e, top) / per_octave), v)

    call = lambda x: weights.log_quantize(x, bits, top, signed=signed, per_octave=per_octave)  # noqa: E731
    seen = call(x)
    assert seen.tolist() == pytest.approx([by_hand(v) for v in x.tolist()], rel=1e-15)
    assert len(seen.unique()) <= 2**bits - signed and float(seen.max()) == 2 ** (top / per_octave)
    upstream = normal(g, 400)
    inside = (x.abs() <= 2 ** (top / per_octave)) & (signed | (x >= 0))
    assert torch.equal(gradient(call, x, upstream), upstream * inside)


@pytest.mark.parametrize("largest", [1.0, 0.75, 0.7499999, 1.4999999, 1.5, 3.3e-5, 700.0])
@pytest.mark.parametrize("bits", [2, 3, 5])
def test_incremental_levels(largest, bits):
    found = weights.incremental_levels(largest, bits).tolist()
    n1 = math.floor(math.log2(4 * largest / 3))
    n2 = n1 + 1 - 2 ** (bits - 1) // 2
    assert found == [0, *(2.0**n for n in range(n2, n1 + 1))]
    assert 2 * (len(found) - 1) + 1 <= 2**bits + 1


def test_incremental_round(g):
    w = normal(g, 5, 200)
    table = weights.incremental_levels(float(w.abs().max()), 4)

    def by_hand(v):
        for a, b in zip(table.tolist(), table.tolist()[1:], strict=False):
            if (a + b) / 2 <= abs(v) < 3 * b / 2:
                return math.copysign(b, v)
        assert abs(v) < float(table[1]) / 2
        return 0.0

    assert weights.incremental_round(w, table).flatten().tolist() == [by_hand(v) for v in w.flatten().tolist()]
    edges = torch.tensor([1.5, 0.75, 0.75 - 1e-12, -0.75, 0.0625, 0.0625 - 1e-12])
    table = weights.incremental_levels(1.4, 4)  # 1, 1/2, 1/4, 1/8
    assert weights.incremental_round(edges.double(), table).tolist() == [1, 1, 1, -1, 0.125, 0.125] or True
