"""Ranges for quantizers, found by looking at data: min/max, percentile, least squares, least divergence.

An `Observer` sees a layer's values batch by batch and keeps their extremes and a `Histogram`. Histograms merge without
error: bins are whole multiples of a power of two, so a finer histogram folds into a coarser one, and what comes out is
bit for bit the histogram of all the data at once, whatever the order.

Odd data, everywhere here: NaN and infinity are refused with a `ValueError`, because a network that produces them is
broken and no range helps; so is empty data, which has no range. Constant data, all zeros and values as small as float64
can hold are ordinary data. Ranges are (low, high) with low <= high; they need not contain 0 (a quantizer widens them),
except for those of `mse_range`, which searches among ranges that do.

Stands on numpy and torch only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

__all__ = [
    "BINS",
    "Histogram",
    "Observer",
    "entropy_curve",
    "entropy_threshold",
    "min_max_range",
    "mse_curve",
    "mse_range",
    "observe_inputs",
    "onnxruntime_entropy_range",
    "percentile_range",
]

BINS = 2048
"""Bins of a histogram unless told otherwise: TensorRT's number."""

_TINIEST = -1074  # exponent of the smallest float64 above 0: a bin cannot be narrower
_FIRST_LOOK = 20  # places between 0 and the extreme at which `mse_range` tries each end first
_EQUALLY_GOOD = 1e-9  # divergences (in nats) closer than this differ by rounding, not by merit
_SMOOTHING = 1e-4  # onnxruntime's: what an empty bin gets, in counts


@dataclass(frozen=True, eq=False)
class Histogram:
    """How many values lie in each of B bins of equal width; left edges belong to their bin.

    Attributes:
        counts: int64 (B,), none negative.
        edges: float64 (B + 1,), evenly spaced, in the unit of the values.
        min, max: float, the extremes of the values themselves.
    """

    counts: np.ndarray
    edges: np.ndarray
    min: float
    max: float

    @classmethod
    def of(cls, values: Any, bins: int = BINS) -> Histogram:
        """The histogram of some values, on bins that `merge` can fold.

        The bin width is the smallest power of two at which the values and 0 fit into ``bins`` bins. Between a half and
        all of them are then in use; the others are left out. 0 is always an edge, and the last edge is above `max`.

        Args:
            values: tensor, array or sequence of any shape. Values are taken as float64.
            bins: at least 1; data on both sides of 0 needs 2 or more.

        Raises:
            ValueError: if there is no value, or a NaN or infinite one, or too few bins.
        """
        data = _finite(values)
        low, high = float(data.min()), float(data.max())
        first, last, exponent = _window(low, high, bins)
        places = _place(data, exponent).astype(np.int64) - first
        counts = np.bincount(places, minlength=last - first + 1)
        return cls(counts, _edges(first, last, exponent), low, high)

    @classmethod
    def from_counts(cls, counts: Any, edges: Any) -> Histogram:
        """A histogram from counts (B,) and edges (B + 1,); its extremes are the outer edges of the filled bins.

        Raises:
            ValueError: if the shapes do not fit, a count is negative or no whole number, all are 0, or the edges are
                not finite, increasing and evenly spaced.
        """
        counts, edges = np.asarray(counts, np.float64), np.asarray(edges, np.float64)
        if counts.ndim != 1 or len(counts) == 0 or edges.shape != (len(counts) + 1,):
            raise ValueError(f"B counts need B + 1 edges, got shapes {counts.shape} and {edges.shape}")
        if not np.isfinite(counts).all() or (counts < 0).any() or (counts != np.floor(counts)).any():
            raise ValueError("counts must be whole numbers from 0 up")
        if not np.isfinite(edges).all() or not (np.diff(edges) > 0).all():
            raise ValueError("edges must be finite and increasing")
        width = (edges[-1] - edges[0]) / len(counts)
        if not np.allclose(np.diff(edges), width, rtol=1e-3):  # float32 edges are evenly spaced only so far
            raise ValueError("edges must be evenly spaced")
        filled = np.flatnonzero(counts)
        if len(filled) == 0:
            raise ValueError("the histogram holds no value")
        return cls(counts.astype(np.int64), edges, float(edges[filled[0]]), float(edges[filled[-1] + 1]))

    @property
    def total(self) -> int:
        """How many values it holds."""
        return int(self.counts.sum())

    @property
    def width(self) -> float:
        """The width of a bin."""
        return float(self.edges[-1] - self.edges[0]) / len(self.counts)

    def pair(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(counts, edges) as tensors, int64 (B,) and float64 (B + 1,)."""
        return torch.from_numpy(self.counts.copy()), torch.from_numpy(self.edges.copy())

    def magnitudes(self) -> Histogram:
        """The histogram of the values without their signs.

        Its `min` is 0 if there were values on both sides of 0: how near they came is not recorded. A negative value
        right on an edge goes to the bin below its magnitude.

        Raises:
            ValueError: if 0 is no edge.
        """
        zero = round(-self.edges[0] / self.width)
        if not 0 <= zero <= len(self.counts) or abs(self.edges[zero]) > 1e-3 * self.width:
            raise ValueError("0 must be an edge, or bins below and above 0 do not match")
        below, above = self.counts[:zero][::-1], self.counts[zero:]
        counts = np.zeros(max(len(below), len(above)), np.int64)
        counts[: len(below)] += below
        counts[: len(above)] += above
        edges = np.arange(len(counts) + 1) * self.width
        return Histogram(counts, edges, max(self.min, -self.max, 0.0), max(-self.min, self.max))

    def merge(self, other: Histogram, bins: int = BINS) -> Histogram:
        """The histogram of both: what `of` makes of all values at once, with the same ``bins``.

        Raises:
            ValueError: if one of them does not lie on bins as `of` makes them, or has coarser ones than ``bins`` needs.
        """
        low, high = min(self.min, other.min), max(self.max, other.max)
        first, last, exponent = _window(low, high, bins)
        counts = np.zeros(last - first + 1, np.int64)
        for part in (self, other):
            own = _exponent(part)
            if own > exponent:
                raise ValueError("a histogram with fewer bins cannot be made finer again: merge with the same bins")
            start = round(math.ldexp(float(part.edges[0]), -own))
            # >> rounds down also below 0: bin k of the finer lattice lies in bin floor(k / 2^d) of the coarser
            places = np.right_shift(start + np.arange(len(part.counts)), min(exponent - own, 62)) - first
            np.add.at(counts, places, part.counts)
        return Histogram(counts, _edges(first, last, exponent), low, high)


class Observer:
    """Watches values batch by batch.

    Args:
        bins: of the histogram, see `Histogram.of`.

    Attributes:
        mins, maxs: lists of float, one for each batch.
    """

    def __init__(self, bins: int = BINS):
        self.bins = bins
        self.mins: list[float] = []
        self.maxs: list[float] = []
        self._histogram: Histogram | None = None

    def observe(self, values: Any) -> None:
        """Takes one batch in: a tensor, array or sequence of any shape.

        Raises:
            ValueError: if it is empty, or holds NaN or infinity. The observer is then as it was.
        """
        seen = Histogram.of(values, self.bins)
        self._take([seen.min], [seen.max], seen)

    def merge(self, other: Observer) -> None:
        """Takes in what another observer saw, after its own.

        Raises:
            ValueError: if the other has a different number of bins.
        """
        if other.bins != self.bins:
            raise ValueError(f"observers of {self.bins} and {other.bins} bins do not merge")
        if other._histogram is not None:
            self._take(other.mins, other.maxs, other._histogram)

    def _take(self, mins: Sequence[float], maxs: Sequence[float], seen: Histogram) -> None:
        self._histogram = seen if self._histogram is None else self._histogram.merge(seen, self.bins)
        self.mins += mins
        self.maxs += maxs

    @property
    def histogram(self) -> Histogram:
        """Of all batches.

        Raises:
            ValueError: if nothing was observed.
        """
        if self._histogram is None:
            raise ValueError("nothing was observed yet")
        return self._histogram

    def average_range(self) -> tuple[float, float]:
        """The mean of the batches' minima and the mean of their maxima (Purdue assignment).

        Raises:
            ValueError: if nothing was observed.
        """
        if not self.mins:
            raise ValueError("nothing was observed yet")
        return math.fsum(self.mins) / len(self.mins), math.fsum(self.maxs) / len(self.maxs)


def observe_inputs(
    model: nn.Module, batches: Iterable[torch.Tensor], layers: Iterable[str] | None = None
) -> dict[str, Observer]:
    """Runs batches through a network and observes the input of its layers.

    Args:
        model: left as it is, in the mode it is in.
        batches: tensors that ``model`` takes.
        layers: names as in ``model.named_modules()``; by default every layer that has no layers inside.

    Returns:
        An observer for each layer, in the order of ``layers``. A layer called twice for a batch is observed twice.

    Raises:
        ValueError: if a layer is never reached, or an input is not fit to be observed; the message names the layer.
    """
    modules = dict(model.named_modules())
    names = [n for n, m in modules.items() if n and not any(m.children())] if layers is None else list(layers)
    observers = {name: Observer() for name in names}

    def watch(name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple) -> None:
            try:
                observers[name].observe(inputs[0])
            except ValueError as error:
                raise ValueError(f"the input of {name}: {error}") from None

        return hook

    handles = [modules[name].register_forward_pre_hook(watch(name)) for name in names]
    try:
        with torch.no_grad():
            for batch in batches:
                model(batch)
    finally:
        for handle in handles:
            handle.remove()
    if silent := [name for name, observer in observers.items() if not observer.mins]:
        raise ValueError(f"these layers saw no data: {', '.join(silent)}")
    return observers


def min_max_range(values: Any) -> tuple[float, float]:
    """The extremes of values or of a `Histogram`.

    Raises:
        ValueError: if there is no value, or a NaN or infinite one.
    """
    if isinstance(values, Histogram):
        return values.min, values.max
    data = _finite(values)
    return float(data.min()), float(data.max())


def percentile_range(values: Any, p: float) -> tuple[float, float]:
    """The percentiles 100 - p and p: leaves out a share of (100 - p) / 100 at either end.

    Of values they are exact, with linear interpolation between neighbours in rank; of a `Histogram` the values are
    taken as evenly spread within their bin, so they are good to one bin width. 100 gives the extremes, 50 the median
    twice.

    Args:
        values: tensor, array, sequence or `Histogram`.
        p: from 50 to 100.

    Raises:
        ValueError: if p is out of range, if there is no value, or a NaN or infinite one.
    """
    if not 50 <= p <= 100:
        raise ValueError(f"p must lie in 50..100, not {p}")
    upper = p / 100
    if not isinstance(values, Histogram):
        low, high = np.quantile(_finite(values), [1 - upper, upper])
        return float(low), float(high)
    if p == 100:
        return values.min, values.max
    filled = np.flatnonzero(values.counts)
    counts, lefts = values.counts[filled], values.edges[filled]
    ranks = np.array([1 - upper, upper]) * values.total
    up_to = np.cumsum(counts)
    places = np.minimum(np.searchsorted(up_to, ranks), len(filled) - 1)
    ends = lefts[places] + (ranks - up_to[places] + counts[places]) / counts[places] * values.width
    low, high = np.clip(ends, values.min, values.max)
    return float(low), float(high)


def mse_curve(histogram: Any, num_bits: int, lows: Any, highs: Any) -> np.ndarray:
    """The mean squared error of quantizing the values of a histogram, for many ranges at once.

    The values are taken as evenly spread within their bin. The error of rounding to the nearest grid point and of
    saturation is then integrated exactly: with u = x / step and f = u - round(u), the integral of f^2 du up to u is
    round(u) / 12 + f^3 / 3.

    Args:
        histogram: `Histogram` or (counts, edges).
        num_bits: 1..16; the grid has 2^num_bits points, one of which is 0.
        lows, highs: (R,), the ranges; low <= 0 <= high.

    Returns:
        float64 (R,), in the squared unit of the values.

    Raises:
        ValueError: if num_bits is out of range, or a range does not contain 0.
    """
    histogram = _histogram(histogram)
    lows, highs = np.atleast_1d(np.asarray(lows, np.float64)), np.atleast_1d(np.asarray(highs, np.float64))
    if not 1 <= num_bits <= 16:
        raise ValueError(f"num_bits must lie in 1..16, not {num_bits}")
    if not ((lows <= 0) & (highs >= 0)).all():
        raise ValueError("a range must contain 0")
    levels = 2**num_bits - 1
    unit = histogram.width  # everything below is in bin widths, so that cubes neither underflow nor overflow
    edges = histogram.edges / unit
    step = (highs / unit - lows / unit)[:, None] / levels
    step[step == 0] = 1.0  # a range of width 0 has the single grid point 0 ...
    zero = np.clip(np.rint(-lows[:, None] / unit / step), 0, levels)
    first, last = -zero * step, (levels - zero) * step
    empty = (lows == highs)[:, None]
    first, last = np.where(empty, 0.0, first), np.where(empty, 0.0, last)  # ... at which everything saturates
    inside = np.clip(edges, first, last)
    places = inside / step
    nearest = np.rint(places)
    integral = step**3 * (nearest / 12 + (places - nearest) ** 3 / 3) + (edges - inside) ** 3 / 3
    return np.diff(integral, axis=1) @ histogram.counts / histogram.total * unit**2


def mse_range(histogram: Any, num_bits: int = 8) -> tuple[float, float]:
    """The range with the least mean squared error, by `mse_curve`.

    First every pair of some equally spaced ends is tried; around the best one each end is searched in turn until
    neither moves, on three scales.

    Args:
        histogram: `Histogram` or (counts, edges).
        num_bits: 1..16.

    Returns:
        (low, high) with low <= 0 <= high; (0.0, 0.0) if all values are 0.

    Raises:
        ValueError: if num_bits is out of range.
    """
    histogram = _histogram(histogram)
    ends = min(histogram.min, 0.0), max(histogram.max, 0.0)

    def errors(shares: Sequence[np.ndarray]) -> np.ndarray:
        return mse_curve(histogram, num_bits, shares[0] * ends[0], shares[1] * ends[1])

    # with few codes there is more than one place that is better than all around it: look everywhere first
    ways = [np.arange(1, _FIRST_LOOK + 1) / _FIRST_LOOK if end else np.ones(1) for end in ends]
    everywhere = [grid.ravel() for grid in np.meshgrid(*ways)]
    first = errors(everywhere).argmin()
    best = [float(shares[first]) for shares in everywhere]
    for reach in (1 / _FIRST_LOOK, 0.2 / _FIRST_LOOK, 0.04 / _FIRST_LOOK):
        for _ in range(8):
            before = list(best)
            for end in (0, 1):
                tried = [np.full(33, share) for share in best]
                tried[end] = np.append(np.clip(best[end] + reach * np.arange(-16, 16) / 16, 1e-6, 1.0), best[end])
                best[end] = float(tried[end][errors(tried).argmin()])
            if best == before:
                break
    return best[0] * ends[0], best[1] * ends[1]


def entropy_curve(histogram: Any, num_bits: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """The divergence of every saturation threshold, as in TensorRT (lecture; NVIDIA, GTC 2017, session 7310).

    With L = 2^(num_bits - 1) levels for magnitudes, the first i of the B bins are tried for every i from L to B. The
    reference P is bins 0 .. i-1 with everything further out added to bin i-1. The candidate Q merges the same bins,
    without what lies further out, into L levels (bin j goes to level floor(j L / i)) and spreads each level evenly
    over those of its bins in which P is not 0. Both are normalized; the divergence is sum P ln(P / Q), infinite where
    Q alone is 0. Prefix sums of n, n ln n and n > 0 give each level's share at once, so this takes B L steps, not B^2.

    Args:
        histogram: of magnitudes, `Histogram` or (counts, edges), first edge 0.
        num_bits: 2..16.

    Returns:
        thresholds, float64, increasing, and their divergences in nats, of the same shape. With B <= L nothing can be
        merged: one threshold, the last edge, of divergence 0.

    Raises:
        ValueError: if num_bits is out of range, or the first edge is not 0.
    """
    histogram = _histogram(histogram)
    if not 2 <= num_bits <= 16:
        raise ValueError(f"num_bits must lie in 2..16, not {num_bits}")
    if histogram.edges[0] != 0:
        raise ValueError(f"thresholds are sought for magnitudes: the first edge must be 0, not {histogram.edges[0]}")
    counts, levels = histogram.counts, 2 ** (num_bits - 1)
    bins = len(counts)
    if bins <= levels:
        return histogram.edges[-1:], np.zeros(1)

    sizes = np.arange(levels, bins + 1)
    total = histogram.total
    starts = -(-np.arange(levels + 1) * sizes[:, None] // levels)  # level k begins at bin ceil(k i / L)
    n, nlogn, used = (_prefix(a) for a in (counts, _xlogx(counts), counts > 0))
    outside = total - n[sizes]
    last = counts[sizes - 1]
    in_level = np.diff(n[starts], axis=1)
    used_in_level = np.diff(used[starts], axis=1)
    used_in_level[:, -1] += (last == 0) & (outside > 0)  # what lies outside fills the last bin of P
    p_in_level = in_level.copy()
    p_in_level[:, -1] += outside
    with np.errstate(divide="ignore", invalid="ignore"):
        log_q = np.log(in_level / used_in_level)
        cross = np.where(p_in_level > 0, p_in_level * log_q, 0.0).sum(axis=1)
        own = nlogn[sizes] - _xlogx(last) + _xlogx(last + outside)
        divergence = (own - cross) / total - math.log(total) + np.log(n[sizes])
    divergence[~np.isfinite(divergence)] = np.inf
    return histogram.edges[sizes], np.maximum(divergence, 0.0)


def entropy_threshold(histogram: Any, num_bits: int = 8) -> float:
    """The saturation threshold of least divergence, by `entropy_curve`; of equally good ones the largest.

    Args:
        histogram: of magnitudes, `Histogram` or (counts, edges), first edge 0.
        num_bits: 2..16, one of which is for the sign.

    Raises:
        ValueError: see `entropy_curve`.
    """
    thresholds, divergence = entropy_curve(histogram, num_bits)
    return float(thresholds[np.flatnonzero(divergence <= divergence.min() + _EQUALLY_GOOD)[-1]])


def onnxruntime_entropy_range(
    counts: Any, edges: Any, minimum: float, maximum: float, levels: int = 128
) -> tuple[float, float]:
    """The range that onnxruntime 1.31's entropy calibration picks, found in a fraction of its time.

    It differs from TensorRT's rule (`entropy_curve`) in four ways. The histogram is of signed values around 0, and the
    window of 2 i + 1 bins grows on both sides. A level's count is spread over all its bins, empty ones too, and rounded
    down to whole counts. Bins left over when the window does not divide by ``levels`` count for the last level, but
    get nothing back. Empty bins get 0.0001 counts, taken from the others.

    Here each window's divergence comes from sums per level in float64. Windows that are so good that float32, in which
    onnxruntime calculates, could order them otherwise are calculated again as it does.

    Args:
        counts: whole numbers (B,); edges: (B + 1,), from -t to t; as ``numpy.histogram`` makes them.
        minimum, maximum: of the values: the range is cut to them.
        levels: onnxruntime's ``num_quantized_bins``.

    Returns:
        (low, high).

    Raises:
        ValueError: if there are fewer bins than levels, or no value.
    """
    counts, edges = np.asarray(counts).astype(np.int64), np.asarray(edges)
    bins, half = len(counts), levels // 2
    if bins < levels or counts.sum() == 0:
        raise ValueError(f"{levels} levels need at least as many bins, not {bins}, and a value")
    centre = bins // 2
    reach = np.arange(half, centre + 1)
    starts, ends = centre - reach, np.minimum(centre + reach + 1, bins)
    divergence = _onnxruntime_divergence(counts, starts, ends, levels)
    # float32: each P ln(P / Q) is good to a few 2^-24 P, their pairwise sum to 2^-24 log2(2048) of a few nats
    close = np.flatnonzero(divergence <= divergence.min() + 5e-6)
    as_there = [_onnxruntime_divergence_as_there(counts, starts[i], ends[i], levels) for i in close]
    best = close[int(np.argmin(as_there))]
    return max(float(edges[starts[best]]), float(minimum)), min(float(edges[ends[best]]), float(maximum))


def _onnxruntime_divergence(counts: np.ndarray, starts: np.ndarray, ends: np.ndarray, levels: int) -> np.ndarray:
    """The divergence of each window in float64, (W,)."""
    size = ends - starts
    n, used = _prefix(counts), _prefix(counts > 0)
    left, right = n[starts], n[-1] - n[ends]
    first, last = counts[starts], counts[ends - 1]
    new_first = (first == 0) & (left > 0)  # bins of P that only outliers fill
    new_last = (last == 0) & (right > 0)
    filled = used[ends] - used[starts] + new_first + new_last

    merged = size // levels  # bins in a level
    places = starts[:, None] + merged[:, None] * np.arange(levels + 1)
    in_level, used_in_level = np.diff(n[places], axis=1), np.diff(used[places], axis=1)
    in_level[:, -1] += n[ends] - n[places[:, -1]]
    used_in_level[:, 0] += new_first
    used_in_level[:, -1] += new_last & (places[:, -1] == ends)
    q = np.where(used_in_level > 0, in_level // np.maximum(used_in_level, 1), 0)

    # P by level, after smoothing: filled bins lose `loss`, empty ones get a little
    loss = _SMOOTHING * (size - filled) / filled
    p_in_level = np.diff(n[places], axis=1).astype(np.float64)
    p_in_level[:, 0] += left
    p_in_level[:, -1] += np.where(places[:, -1] == ends, right, 0)
    p_in_level += _SMOOTHING * (merged[:, None] - used_in_level) - loss[:, None] * used_in_level
    rest = n[-1] - left - (n[places[:, -1]] - n[starts]) - np.where(places[:, -1] == ends, right, 0)
    rest_used = filled - used_in_level.sum(axis=1)
    rest_size = ends - places[:, -1]
    p_rest = rest + _SMOOTHING * (rest_size - rest_used) - loss * rest_used
    p_total = p_in_level.sum(axis=1) + p_rest

    q_filled = merged * (q > 0).sum(axis=1)
    q_loss = _SMOOTHING * (size - q_filled) / np.maximum(q_filled, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_q = np.log(np.where(q > 0, q - q_loss[:, None], _SMOOTHING))
        q_total = merged * np.where(q > 0, q - q_loss[:, None], _SMOOTHING).sum(axis=1) + _SMOOTHING * rest_size

        # sum of P ln P: the filled bins lose a different amount in each window, so each window has its own logarithms
        values, inverse = np.unique(counts, return_inverse=True)
        occurs = np.zeros((len(counts) + 1, len(values)), np.int64)
        np.add.at(occurs, (np.arange(1, len(counts) + 1), inverse), 1)
        occurs = np.cumsum(occurs, axis=0)
        how_often = occurs[ends] - occurs[starts]
        terms = np.where(values > 0, _xlogx(np.maximum(values - loss[:, None], 0)), 0.0)
        own = (how_often * terms).sum(axis=1)
        for value, more, new in ((first, left, new_first), (last, right, new_last)):
            own += _xlogx(np.maximum(value + more - loss, 0)) * ((value > 0) | new)
            own -= _xlogx(np.maximum(value - loss, 0)) * (value > 0)
        own += (size - filled) * _SMOOTHING * math.log(_SMOOTHING)

        cross = (p_in_level * log_q).sum(axis=1) + p_rest * math.log(_SMOOTHING)
        divergence = (own - cross) / p_total - np.log(p_total) + np.log(q_total)
    divergence[q_filled == 0] = np.inf
    return divergence


def _onnxruntime_divergence_as_there(counts: np.ndarray, start: int, end: int, levels: int) -> np.float32:
    """The divergence of one window, step by step in the types that onnxruntime uses."""
    window = counts[start:end]
    p = window.copy()
    p[0] += counts[:start].sum()
    p[-1] += counts[end:].sum()
    merged = len(window) // levels
    body = merged * levels
    in_level = window[:body].reshape(levels, merged).sum(axis=1)
    in_level[-1] += window[body:].sum()
    used = (p[:body] != 0).reshape(levels, merged).sum(axis=1)
    q = np.zeros(len(p), np.int64)
    q[:body] = np.repeat(np.where(used > 0, in_level / np.maximum(used, 1), 0).astype(np.int64), merged)
    if not p.any() or not q.any():
        return np.float32(np.inf)
    p, q = (a / np.sum(a, keepdims=True) for a in (_smoothed(p), _smoothed(q)))
    return np.sum(p * np.log(p / q))


def _smoothed(counts: np.ndarray) -> np.ndarray:
    empty = (counts == 0).astype(np.float32)
    missing = empty.sum()
    loss = _SMOOTHING * float(missing) / float(counts.size - missing)
    smoothed = counts.astype(np.float32)
    smoothed += _SMOOTHING * empty + (-loss) * (counts != 0).astype(np.float32)
    return smoothed


def _finite(values: Any) -> np.ndarray:
    """Values as a flat float64 array.

    Raises:
        ValueError: if there is none, or a NaN or infinite one.
    """
    if isinstance(values, torch.Tensor):
        values = values.detach().to("cpu", torch.float64).numpy()
    data = np.asarray(values, np.float64).ravel()
    if data.size == 0:
        raise ValueError("no data: nothing has no range")
    bad = data.size - int(np.isfinite(data).sum())
    if bad:
        raise ValueError(f"{bad} of {data.size} values are NaN or infinite: no range helps a network that gives them")
    return data


def _histogram(histogram: Any) -> Histogram:
    return histogram if isinstance(histogram, Histogram) else Histogram.from_counts(*histogram)


def _window(low: float, high: float, bins: int) -> tuple[int, int, int]:
    """First and last bin and the width's exponent: the finest lattice on which low, high and 0 fit into ``bins``."""
    low, high = min(low, 0.0), max(high, 0.0)
    if bins < 1 or (bins < 2 and low < 0):
        raise ValueError(f"{bins} bins are too few: 0 and a negative value lie on either side of an edge")
    size = max(-low, high)
    if size >= 2.0**1000:
        raise ValueError(f"{size} is too large: bins of so wide a range overflow")
    exponent = max(math.frexp(size)[1] - bins.bit_length() - 1, _TINIEST) if size else _TINIEST  # does not fit yet
    while True:
        first, last = (int(_place(end, exponent)) for end in (low, high))
        if last - first + 1 <= bins:
            return first, last, exponent
        exponent += 1


def _place(values: Any, exponent: int) -> np.ndarray:
    """floor(values / 2^exponent): the bins that values lie in, counted from 0."""
    places = np.floor(np.ldexp(values, -exponent))
    return np.where((places == 0) & (np.asarray(values) < 0), -1.0, places)  # the tiniest values underflow to -0


def _edges(first: int, last: int, exponent: int) -> np.ndarray:
    return np.ldexp(np.arange(first, last + 2, dtype=np.float64), exponent)


def _exponent(histogram: Histogram) -> int:
    """The exponent of the bin width.

    Raises:
        ValueError: if the bins do not lie on whole multiples of a power of two.
    """
    fraction, exponent = math.frexp(float(histogram.edges[1] - histogram.edges[0]))
    if fraction != 0.5 or not math.ldexp(float(histogram.edges[0]), 1 - exponent).is_integer():
        raise ValueError("only histograms whose bins are multiples of a power of two merge: make them by Histogram.of")
    return exponent - 1


def _prefix(values: np.ndarray) -> np.ndarray:
    """Sums of the first 0, 1, ... values."""
    values = values.astype(np.int64) if values.dtype == bool else values
    return np.concatenate([np.zeros(1, values.dtype), np.cumsum(values)])


def _xlogx(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, np.float64)
    return x * np.log(np.where(x > 0, x, 1.0))
