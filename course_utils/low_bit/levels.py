"""The best levels that a method claims to have, or comes near to: by searching all of them, or by Lloyd's algorithm.

Stands on torch only.
"""

from __future__ import annotations

import itertools
import math
from functools import cache

import torch
from torch import Tensor

__all__ = ["half_wave_error", "half_wave_levels", "optimal_ternary"]


def optimal_ternary(w: Tensor) -> tuple[float, float]:
    """(threshold, alpha) of least squared error, when w becomes alpha * sign(w) where |w| > threshold, and else 0.

    With k weights kept, the best alpha is their mean magnitude, and the error falls by (their sum)^2 / k. So the
    largest magnitudes are kept, and every k is tried: exact, in the time of a sort.

    Args:
        w: any shape, not empty, not all 0.

    Returns:
        float64 arithmetic; the threshold lies half-way between the last magnitude kept and the first dropped.

    Source: Li, Zhang, Liu, Ternary Weight Networks, 2016, "Threshold-based ternary function", solved there by
    approximation.
    """
    size = w.detach().abs().flatten().double().sort(descending=True).values
    kept = torch.arange(1, len(size) + 1, dtype=torch.float64)
    total = size.cumsum(0)
    gain = total**2 / kept
    gain[:-1][size[:-1] == size[1:]] = -1  # equal magnitudes are kept or dropped together
    k = int(gain.argmax())
    below = float(size[k + 1]) if k + 1 < len(size) else 0.0
    return (float(size[k]) + below) / 2, float(total[k] / kept[k])


def _density(x: float) -> float:
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _cells(levels: list[float], rounds_to_zero: bool) -> list[tuple[float, float]]:
    """Probability and first moment of a standard normal number between 0 and infinity in each level's cell."""
    first = levels[0] / 2 if rounds_to_zero else 0.0
    edges = [first, *((a + b) / 2 for a, b in itertools.pairwise(levels)), math.inf]
    tails = [math.erfc(edge / math.sqrt(2)) / 2 for edge in edges]
    densities = [_density(edge) for edge in edges]
    return [(tails[i] - tails[i + 1], densities[i] - densities[i + 1]) for i in range(len(levels))]


@cache
def half_wave_levels(bits: int, *, uniform: bool = True, rounds_to_zero: bool = False) -> Tensor:
    """The 2^bits - 1 levels above 0 of least squared error for max(0, x), x standard normal; by Lloyd's algorithm.

    The cells are those of the nearest level; each level, or the one step of all, becomes the best for its cells; and so
    on until nothing moves. The tests look for better ones on a grid.

    Args:
        bits: 1 to 5; 0 is the remaining level.
        uniform: level i is i times a step, as HWGQ has it. Else each is for itself.
        rounds_to_zero: x below half of the first level becomes 0. HWGQ does not: there every x above 0 gets a level
            above 0, which costs error (with 2 bits nearly twice) and makes the zeros those of the ReLU.

    Returns:
        float64 (2^bits - 1,), ascending. HWGQ's step for 2 bits is 0.538.

    Source: Cai and others, HWGQ, CVPR 2017, arXiv 1702.00953; Lloyd, Least squares quantization in PCM, 1982.
    """
    if not 1 <= bits <= 5:
        raise ValueError(f"bits is 1 to 5, not {bits}")
    count = 2**bits - 1
    levels = [3.0 * i / count for i in range(1, count + 1)]
    for _ in range(100_000):
        cells = _cells(levels, rounds_to_zero)
        if uniform:
            moment = sum(i * m for i, (_, m) in enumerate(cells, 1))
            step = moment / sum(i * i * p for i, (p, _) in enumerate(cells, 1))
            moved = [step * i for i in range(1, count + 1)]
        else:
            moved = [m / p for p, m in cells]
        change = max(abs(a - b) for a, b in zip(levels, moved, strict=True))
        levels = moved
        if change < 1e-14:
            break
    return torch.tensor(levels, dtype=torch.float64)


def half_wave_error(levels: Tensor, *, rounds_to_zero: bool = False) -> float:
    """The mean squared error of these levels for max(0, x), x standard normal: 0 for x <= 0, else the nearest level.

    Args:
        levels: float64, ascending, above 0.
        rounds_to_zero: see `half_wave_levels`.
    """
    values = levels.tolist()
    return 0.5 + sum(q * q * p - 2 * q * m for q, (p, m) in zip(values, _cells(values, rounds_to_zero), strict=True))
