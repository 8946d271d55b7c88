"""Activations of few bits: each formula by hand, the gradients that stand in, HWGQ's levels against a search."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from course_utils.low_bit import activations, levels


@pytest.fixture
def g():
    return torch.Generator().manual_seed(5)


def gradient(function, x):
    x = x.clone().requires_grad_()
    function(x).sum().backward()
    return x.grad


X = torch.tensor([-3, -1.0001, -1, -0.7, -0.2, -0.0, 0.0, 0.1, 1 / 3, 0.5, 0.9, 1, 1.0001, 2, 7], dtype=torch.float64)


def test_signs():
    assert activations.sign_activation(X).tolist() == [-1.0 if v < 0 else 1.0 for v in X.tolist()]
    assert gradient(activations.sign_activation, X).tolist() == [float(abs(v) <= 1) for v in X.tolist()]


@pytest.mark.parametrize("bits", [1, 2, 3, 8])
def test_qnn(bits):
    seen = activations.qnn_activation(X, bits)
    grid = np.linspace(-1, 1, 2**bits)
    nearest = [abs(grid - min(max(v, -1), 1)).min() for v in X.tolist()]
    assert [abs(s - min(max(v, -1), 1)) for s, v in zip(seen.tolist(), X.tolist(), strict=True)] == pytest.approx(
        nearest
    )
    assert max(abs(grid - s).min() for s in seen.tolist()) < 1e-12
    assert gradient(lambda x: activations.qnn_activation(x, bits), X).tolist() == [
        float(abs(v) <= 1) for v in X.tolist()
    ]
    if bits == 1:
        assert torch.equal(seen, activations.sign_activation(X))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_dorefa(bits):
    steps = 2**bits - 1
    expected = [round(min(max(v, 0), 1) * steps) / steps for v in X.tolist()]
    assert activations.dorefa_activation(X, bits).tolist() == pytest.approx(expected)
    mine = gradient(lambda x: activations.dorefa_activation(x, bits), X)
    assert mine.tolist() == [float(0 <= v <= 1) for v in X.tolist()]


def test_dorefas_gradients_are_rounded_without_bias(g):
    upstream = torch.randn(2, 3, 4, generator=g, dtype=torch.float64) * torch.tensor([1e-3, 50.0])[:, None, None]
    upstream[1, 0] = 0
    bits, total, count = 2, torch.zeros_like(upstream), 4000
    for _ in range(count):
        x = torch.zeros_like(upstream, requires_grad=True)
        y = activations.dorefa_gradient(x, bits, generator=g)
        assert torch.equal(y, x)
        y.backward(upstream)
        total += x.grad
        largest = upstream.abs().amax((1, 2), keepdim=True)
        code = (x.grad / largest + 1) / 2 * 3
        assert torch.allclose(code, code.round(), atol=1e-9) and code.min() >= 0 and code.max() <= 3
    spread = 2 * upstream.abs().amax((1, 2), keepdim=True) / 3 / 2 / math.sqrt(count)  # of a step's two ends, at most
    assert bool(((total / count - upstream).abs() <= 5 * spread).all())
    x = torch.zeros(2, 3, requires_grad=True)
    activations.dorefa_gradient(x, 6).backward(torch.zeros(2, 3))
    assert bool(x.grad.isfinite().all())


def test_input_scale(g):
    x = torch.randn(2, 3, 6, 5, generator=g)
    k = activations.input_scale(x, (3, 2), (2, 1))
    assert k.shape == (2, 1, 2, 4)
    assert float(k[1, 0, 1, 2]) == pytest.approx(float(x[1, :, 2:5, 2:4].abs().mean()))
    flat = torch.randn(4, 9, generator=g)
    assert torch.allclose(activations.input_scale(flat), flat.abs().mean(1, keepdim=True))
    exact = x.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: activations.input_scale(x, (3, 2), (2, 1)), exact)


def brute_error(values, rounds_to_zero):
    """By integration over a grid, each number going to the nearest of the levels (and 0, if that may be)."""
    x = np.linspace(0, 9, 60_001)
    density = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    table = np.array([0.0, *values] if rounds_to_zero else values)
    nearest = table[np.searchsorted((table[1:] + table[:-1]) / 2, x)]
    return float(np.trapezoid(density * (x - nearest) ** 2, x))


@pytest.mark.parametrize("rounds_to_zero", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_uniform_half_wave_levels_are_the_best(bits, rounds_to_zero):
    found = levels.half_wave_levels(bits, rounds_to_zero=rounds_to_zero)
    count = 2**bits - 1
    step = float(found[0])
    assert found.tolist() == pytest.approx([step * i for i in range(1, count + 1)])
    grid = np.linspace(0.02, 2, 400)
    errors = [brute_error(np.arange(1, count + 1) * s, rounds_to_zero) for s in grid]
    assert step == pytest.approx(grid[int(np.argmin(errors))], abs=0.006)
    mine = levels.half_wave_error(found, rounds_to_zero=rounds_to_zero)
    assert mine == pytest.approx(brute_error(found.tolist(), rounds_to_zero), rel=1e-4)
    assert mine <= min(errors) * (1 + 1e-4)
    for factor in (0.999, 1.001):
        assert levels.half_wave_error(found * factor, rounds_to_zero=rounds_to_zero) > mine


def test_the_step_is_the_papers_and_what_it_costs():
    assert math.floor(float(levels.half_wave_levels(2)[0]) * 1000) == 538
    paper = levels.half_wave_error(levels.half_wave_levels(2))
    zero = levels.half_wave_error(levels.half_wave_levels(2, rounds_to_zero=True), rounds_to_zero=True)
    free = levels.half_wave_error(levels.half_wave_levels(2, uniform=False))
    assert paper > free > zero and 1.8 < paper / zero < 1.9


@pytest.mark.parametrize("rounds_to_zero", [False, True])
@pytest.mark.parametrize("bits", [2, 3])
def test_free_half_wave_levels_are_the_best(bits, rounds_to_zero):
    found = levels.half_wave_levels(bits, uniform=False, rounds_to_zero=rounds_to_zero)
    mine = levels.half_wave_error(found, rounds_to_zero=rounds_to_zero)
    rng = np.random.default_rng(0)
    for scale in (1e-3, 0.05, 0.5):
        for _ in range(200):
            other = np.sort(np.abs(found.numpy() + rng.normal(0, scale, len(found))))
            assert levels.half_wave_error(torch.tensor(other), rounds_to_zero=rounds_to_zero) >= mine - 1e-15


def test_half_wave():
    table = levels.half_wave_levels(2).tolist()
    x = torch.cat([X, torch.tensor([1e-9, table[0] * 1.5 - 1e-6, table[0] * 1.5 + 1e-6, 1.7], dtype=torch.float64)])
    expected = [0.0 if v <= 0 else min(table, key=lambda q: abs(q - v)) for v in x.tolist()]
    assert activations.half_wave(x, 2).tolist() == pytest.approx(expected)
    mine = gradient(lambda x: activations.half_wave(x, 2), x)
    assert mine.tolist() == [float(0 < v <= table[-1]) for v in x.tolist()]
    with pytest.raises(ValueError, match="1 to 5"):
        levels.half_wave_levels(6)
