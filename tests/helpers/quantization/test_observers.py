"""Ranges and histograms: against plain loops, numpy, sampling, onnxruntime, published clip factors; odd data."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from course_utils.quantization import observers
from course_utils.quantization.observers import Histogram, Observer

RNG = np.random.default_rng(7)
FLOATS = st.one_of(
    st.floats(-1e3, 1e3),
    st.floats(-1e-30, 1e-30),
    st.floats(-(2.0**127), 2.0**127, width=32),
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 5e-324, -5e-324, 2.0**-149]),
)
BATCHES = st.lists(st.lists(FLOATS, min_size=1, max_size=12), min_size=1, max_size=5)


def make(kind: str, count: int = 20_000) -> np.ndarray:
    x = RNG.normal(size=count)
    match kind:
        case "relu":
            x = np.maximum(x, 0)
        case "outliers":
            x[:20] *= 10
        case "laplace":
            x = RNG.laplace(size=count)
        case "uniform":
            x = RNG.uniform(-1, 2, size=count)
        case "long tail":
            x = RNG.standard_t(2, size=count)
        case "few":
            x = x[:25]
        case "constant":
            x = np.full(count, 3.7)
        case "tiny":
            x = x * 1e-30
    return x.astype(np.float32)


KINDS = ("gaussian", "relu", "outliers", "laplace", "uniform", "long tail", "few", "constant", "tiny")


# histograms


@settings(deadline=None)
@given(BATCHES, st.sampled_from([2, 3, 16, 2048]))
def test_merged_histograms_equal_the_histogram_of_all(batches, bins):
    whole = Histogram.of(np.concatenate(batches), bins)
    parts = [Histogram.of(b, bins) for b in batches]
    for order in (parts, parts[::-1]):
        merged = order[0]
        for part in order[1:]:
            merged = merged.merge(part, bins)
        assert np.array_equal(merged.counts, whole.counts)
        assert np.array_equal(merged.edges, whole.edges)
        assert (merged.min, merged.max) == (whole.min, whole.max)


@settings(deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=50), st.sampled_from([2, 7, 2048]))
def test_bins_hold_what_lies_between_their_edges(values, bins):
    h = Histogram.of(values, bins)
    expected = [sum(a <= v < b for v in values) for a, b in itertools.pairwise(h.edges)]
    assert h.counts.tolist() == expected
    assert h.total == len(values)
    assert 0.0 in h.edges
    assert len(h.counts) <= bins
    assert (h.min, h.max) == (min(values), max(values))


def test_at_least_half_of_the_bins_are_in_use():
    for size in np.geomspace(0.5, 2, 41):
        assert len(Histogram.of([0.0, size], 2048).counts) > 1024


def test_a_histogram_of_one_bin():
    h = Histogram.of([0.0, 0.5, 3.0], 1)
    assert h.counts.tolist() == [3] and h.edges[0] == 0 and h.edges[1] > 3
    with pytest.raises(ValueError, match="too few"):
        Histogram.of([-1.0, 1.0], 1)


@pytest.mark.parametrize("bins", [0, -3])
def test_no_bins_are_refused(bins):
    with pytest.raises(ValueError, match="too few"):
        Histogram.of([1.0], bins)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([], "no data"),
        (torch.empty(0, 3), "no data"),
        ([1.0, math.nan], "1 of 2 values are NaN"),
        ([math.inf, 1.0, -math.inf], "2 of 3 values are NaN or infinite"),
    ],
)
def test_odd_data_is_refused_everywhere(bad, message):
    observer = Observer()
    for call in (
        Histogram.of,
        observer.observe,
        observers.min_max_range,
        lambda v: observers.percentile_range(v, 99),
    ):
        with pytest.raises(ValueError, match=message):
            call(bad)
    assert observer.mins == observer.maxs == []


def test_values_too_large_for_bins_are_refused():
    with pytest.raises(ValueError, match="too large"):
        Histogram.of([1e308])


def test_a_finer_histogram_cannot_be_made_of_a_coarser_one():
    with pytest.raises(ValueError, match="same bins"):
        Histogram.of([1.0], 4).merge(Histogram.of([1.0], 2048), 2048)


def test_histograms_on_other_bins_do_not_merge():
    h = Histogram.from_counts([1, 2, 3], [0, 0.3, 0.6, 0.9])
    with pytest.raises(ValueError, match=r"Histogram\.of"):
        h.merge(h)


def test_from_counts():
    h = Histogram.from_counts([0, 2, 3, 0], [-1.0, 0.0, 1.0, 2.0, 3.0])
    assert (h.min, h.max, h.total, h.width) == (0.0, 2.0, 5, 1.0)
    counts, edges = h.pair()
    assert counts.dtype == torch.int64 and edges.dtype == torch.float64 and len(edges) == len(counts) + 1


@pytest.mark.parametrize(
    ("counts", "edges", "message"),
    [
        ([1, 2], [0, 1], "edges"),
        ([], [0], "edges"),
        ([1, -2], [0, 1, 2], "whole numbers"),
        ([1, 0.5], [0, 1, 2], "whole numbers"),
        ([1, math.nan], [0, 1, 2], "whole numbers"),
        ([0, 0], [0, 1, 2], "no value"),
        ([1, 1], [0, 1, 1], "increasing"),
        ([1, 1], [0, 1, math.inf], "finite"),
        ([1, 1], [0, 1, 3], "evenly"),
    ],
)
def test_from_counts_refuses(counts, edges, message):
    with pytest.raises(ValueError, match=message):
        Histogram.from_counts(counts, edges)


@pytest.mark.parametrize("kind", KINDS)
def test_magnitudes(kind):
    x = make(kind).astype(np.float64) + 1e-9  # off the edges, where a sign decides
    h = Histogram.of(x).magnitudes()
    assert h.edges[0] == 0
    assert np.array_equal(h.counts, np.histogram(np.abs(x), h.edges)[0])
    assert h.max == np.abs(x).max()
    assert 0 <= h.min <= np.abs(x).min()


def test_magnitudes_of_negative_values():
    h = Histogram.of([-3.0, -1.5]).magnitudes()
    assert (h.min, h.max, h.total) == (1.5, 3.0, 2)


def test_magnitudes_need_an_edge_at_0():
    with pytest.raises(ValueError, match="edge"):
        Histogram.from_counts([1, 1], [-0.5, 0.5, 1.5]).magnitudes()


# observers


def test_observer_keeps_each_batch():
    observer = Observer()
    for batch in ([1.0, -2.0], [4.0], torch.tensor([[0.5, 3.0]])):
        observer.observe(batch)
    assert observer.mins == [-2.0, 4.0, 0.5] and observer.maxs == [1.0, 4.0, 3.0]
    assert observer.average_range() == (pytest.approx(2.5 / 3), pytest.approx(8 / 3))
    assert observers.min_max_range(observer.histogram) == (-2.0, 4.0)
    assert observer.histogram.total == 5


def test_observers_merge():
    batches = [RNG.normal(size=100) * 10.0**k for k in range(-3, 3)]
    one, two, all_of_them = Observer(64), Observer(64), Observer(64)
    for number, batch in enumerate(batches):
        (one if number < 2 else two).observe(batch)
        all_of_them.observe(batch)
    one.merge(two)
    one.merge(Observer(64))
    assert one.mins == all_of_them.mins and one.maxs == all_of_them.maxs
    assert np.array_equal(one.histogram.counts, all_of_them.histogram.counts)
    with pytest.raises(ValueError, match="do not merge"):
        one.merge(Observer(32))


def test_nothing_observed_has_no_range():
    for ask in (lambda o: o.histogram, lambda o: o.average_range()):
        with pytest.raises(ValueError, match="nothing was observed"):
            ask(Observer())


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.then, self.spare = nn.Linear(3, 2), nn.Sequential(nn.ReLU(), nn.Linear(2, 1)), nn.Identity()

    def forward(self, x):
        return self.then(self.first(x))


def test_inputs_of_layers_are_observed():
    net, batches = Net(), [torch.randn(5, 3), torch.randn(2, 3)]
    found = observers.observe_inputs(net, iter(batches), ["then.1", "first"])
    assert list(found) == ["then.1", "first"]
    assert found["first"].maxs == [float(b.max()) for b in batches]
    with torch.no_grad():
        assert found["then.1"].maxs == [float(net.first(b).relu().max()) for b in batches]
    assert not any(m._forward_pre_hooks for m in net.modules())


def test_layers_that_see_nothing_are_named():
    with pytest.raises(ValueError, match="saw no data: spare"):
        observers.observe_inputs(Net(), [torch.randn(1, 3)])
    with pytest.raises(ValueError, match="saw no data"):
        observers.observe_inputs(Net(), [], ["first"])


def test_the_layer_with_nan_is_named_and_hooks_are_gone():
    net = Net()
    with pytest.raises(ValueError, match="input of first"):
        observers.observe_inputs(net, [torch.full((1, 3), math.nan)], ["first", "then.1"])
    assert not any(m._forward_pre_hooks for m in net.modules())


# percentiles


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.floats(50, 100))
def test_percentiles_of_values_are_numpys(values, p):
    expected = np.percentile(values, [100 - p, p])
    assert observers.percentile_range(values, p) == pytest.approx(tuple(expected), rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("p", [50, 75, 99, 99.9, 99.99, 100])
@pytest.mark.parametrize("kind", KINDS)
def test_percentiles_of_a_histogram_are_good_to_a_bin(kind, p):
    x = make(kind)
    h = Histogram.of(x)
    low, high = observers.percentile_range(h, p)
    ranked = np.sort(x.astype(np.float64))
    for end, share in ((low, 1 - p / 100), (high, p / 100)):
        rank = share * (len(x) - 1)
        neighbours = ranked[max(math.floor(rank) - 1, 0)], ranked[min(math.ceil(rank) + 1, len(x) - 1)]
        assert neighbours[0] - h.width <= end <= neighbours[1] + h.width
    assert h.min <= low <= high <= h.max


def test_percentile_100_and_50():
    values = [3.0, 1.0, 10.0, 2.0]
    for data in (values, Histogram.of(values)):
        assert observers.percentile_range(data, 100) == (1.0, 10.0)
    assert observers.percentile_range(values, 50) == (2.5, 2.5)
    low, high = observers.percentile_range(Histogram.of(values), 50)
    assert low == high


@pytest.mark.parametrize("p", [49.99, 100.01, -1, 0.5, math.nan])
def test_other_percentiles_are_refused(p):
    with pytest.raises(ValueError, match=r"50\.\.100"):
        observers.percentile_range([1.0], p)


# least squares


def quantized(x, low, high, num_bits):
    levels = 2**num_bits - 1
    step = (high - low) / levels or 1.0
    zero = np.rint(-low / step)
    return step * (np.clip(np.rint(x / step) + zero, 0, levels) - zero)


@pytest.mark.parametrize("num_bits", [1, 2, 4, 8])
@pytest.mark.parametrize("ends", [(-1.3, 2.1), (0, 0.7), (-2, 0), (-5, 5), (0, 9)])
def test_mse_is_that_of_values_spread_evenly_in_their_bins(num_bits, ends):
    counts = RNG.integers(0, 50, 40)
    edges = np.linspace(-3, 5, 41)
    within = (np.arange(400) + 0.5) / 400
    x = edges[:-1, None] + within * np.diff(edges)[:, None]
    errors = ((quantized(x, *ends, num_bits) - x) ** 2).mean(axis=1)
    found = observers.mse_curve((counts, edges), num_bits, *ends)
    # 400 points a bin instead of the integral: jumps of the error's slope lie between two points
    assert found[0] == pytest.approx(np.average(errors, weights=counts), rel=1e-3)


def test_a_range_of_width_0_cuts_everything():
    h = Histogram.from_counts([1], [1.0, 1.0 + 1e-6])
    assert observers.mse_curve(h, 8, 0.0, 0.0)[0] == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("num_bits", [2, 4, 8])
@pytest.mark.parametrize("kind", [k for k in KINDS if k != "constant"])
def test_mse_range_is_about_the_best_there_is(kind, num_bits):
    x = make(kind, 4000).astype(np.float64)
    low, high = min(x.min(), 0), max(x.max(), 0)
    shares = np.arange(1, 61) / 60
    tried = [(a * low, b * high) for a in (shares if low < 0 else [0]) for b in shares]
    best = min(((quantized(x, *ends, num_bits) - x) ** 2).mean() for ends in tried)
    found = observers.mse_range(Histogram.of(x), num_bits)
    assert found[0] <= 0 <= found[1]
    # it knows values to a bin, and 25 values are a rough histogram
    assert ((quantized(x, *found, num_bits) - x) ** 2).mean() <= best * (1.5 if kind == "few" else 1.03)


def test_mse_range_of_odd_data():
    assert observers.mse_range(Histogram.of([0.0, 0.0]), 8) == (0.0, 0.0)
    low, high = observers.mse_range(Histogram.of([3.7] * 5), 8)
    assert low == 0 and high == pytest.approx(3.7, rel=2e-3)
    low, high = observers.mse_range(Histogram.of([-1e-30, 2e-30]), 8)
    assert low == pytest.approx(-1e-30, rel=0.02) and high == pytest.approx(2e-30, rel=0.02)
    assert observers.mse_range(([5], [0.0, 1.0]), 1)[0] == 0.0


@pytest.mark.parametrize("num_bits", [0, 17])
def test_bits_out_of_range_are_refused(num_bits):
    h = Histogram.of([1.0])
    for call in (observers.mse_range, observers.entropy_threshold):
        with pytest.raises(ValueError, match="num_bits"):
            call(h, num_bits)


def test_ranges_without_0_are_refused():
    with pytest.raises(ValueError, match="contain 0"):
        observers.mse_curve(Histogram.of([1.0]), 8, 0.5, 1.0)


@pytest.mark.parametrize(
    ("kind", "factors"),
    [
        ("gaussian", {4: 2.56, 5: 2.94, 6: 3.29, 7: 3.62, 8: 3.92}),
        ("laplace", {4: 5.03, 5: 6.20, 6: 7.41, 7: 8.65, 8: 9.90}),
    ],
)
def test_clip_factors_of_aciq(kind, factors):
    """Banner et al. 2018. Their cells number 2^n and need no code at 0, and Delta^2 / 12 is taken for granted."""
    ranks = (np.arange(1_000_000) + 0.5) / 1_000_000
    if kind == "laplace":
        x = -np.sign(ranks - 0.5) * np.log1p(-2 * np.abs(ranks - 0.5)) * -1
    else:
        x = torch.special.ndtri(torch.from_numpy(ranks)).numpy()
    h = Histogram.of(x)
    for num_bits, factor in factors.items():
        low, high = observers.mse_range(h, num_bits)
        assert (high - low) / 2 == pytest.approx(factor, rel=0.06)


# entropy


def plain_divergences(counts, levels):
    """The definition in `entropy_curve`, word for word."""
    result = []
    for i in range(levels, len(counts) + 1):
        p = [float(c) for c in counts[:i]]
        p[-1] += sum(counts[i:])
        total, used = [0.0] * levels, [0] * levels
        for j in range(i):
            total[j * levels // i] += counts[j]
            used[j * levels // i] += p[j] > 0
        q = [total[j * levels // i] / used[j * levels // i] if p[j] > 0 else 0.0 for j in range(i)]
        if any(a > 0 and b == 0 for a, b in zip(p, q, strict=True)):
            result.append(math.inf)
            continue
        terms = [a / sum(p) * math.log(a / sum(p) / (b / sum(q))) for a, b in zip(p, q, strict=True) if a > 0]
        result.append(math.fsum(terms))
    return result


COUNTS = st.lists(st.one_of(st.just(0), st.integers(0, 5), st.integers(0, 10**6)), min_size=1, max_size=40)


@settings(deadline=None)
@given(COUNTS.filter(any), st.integers(2, 5))
def test_divergences_equal_a_plain_loop(counts, num_bits):
    edges = np.arange(len(counts) + 1) * 0.25
    thresholds, found = observers.entropy_curve((counts, edges), num_bits)
    levels = 2 ** (num_bits - 1)
    if len(counts) <= levels:
        assert thresholds.tolist() == [edges[-1]] and found.tolist() == [0.0]
        return
    expected = plain_divergences(counts, levels)
    assert thresholds.tolist() == edges[levels:].tolist()
    assert found == pytest.approx(np.maximum(expected, 0), abs=1e-9)
    chosen = observers.entropy_threshold((counts, edges), num_bits)
    assert expected[thresholds.tolist().index(chosen)] <= min(expected) + 2e-9


@pytest.mark.parametrize("kind", KINDS)
def test_thresholds_equal_a_brute_force_search_over_2048_bins(kind):
    sizes = np.abs(make(kind).astype(np.float64))
    counts, edges = np.histogram(sizes, 2048, range=(0, sizes.max()))
    expected = np.array(_fast_plain(counts, 128))
    thresholds, found = observers.entropy_curve((counts, edges), 8)
    assert found == pytest.approx(np.maximum(expected, 0), abs=1e-9)
    best = thresholds[np.flatnonzero(expected <= expected.min() + 1e-9)[-1]]
    assert observers.entropy_threshold((counts, edges), 8) == best


def _fast_plain(counts, levels):
    """`plain_divergences` with numpy inside its loop: 2048 bins in a tenth of a second."""
    counts = np.array(counts, float)
    result = []
    for i in range(levels, len(counts) + 1):
        p = counts[:i].copy()
        p[-1] += counts[i:].sum()
        level = np.arange(i) * levels // i
        used = np.bincount(level, p > 0, levels)
        q = np.bincount(level, counts[:i], levels)[level] / np.maximum(used, 1)[level]
        p, q = p[p > 0] / p.sum(), q[p > 0]
        result.append(math.inf if (q == 0).any() else float((p * np.log(p / (q / q.sum()))).sum()))
    return result


def test_entropy_of_odd_data():
    assert observers.entropy_threshold(([7], [0.0, 2.0])) == 2.0
    assert observers.entropy_threshold(Histogram.of([0.0, 0.0])) > 0
    for value in (1e-30, 1.0, 3.7):
        h = Histogram.of([value] * 9)
        assert observers.entropy_threshold(h) == h.edges[-1] > value
    with pytest.raises(ValueError, match="first edge"):
        observers.entropy_threshold(Histogram.of([-1.0, 1.0]))


def test_of_equally_good_thresholds_the_largest_is_taken():
    assert observers.entropy_threshold(([4] * 64, np.arange(65.0)), 3) == 64.0


def test_entropy_fails_at_the_spike_of_a_relu():
    """NUMERICS: 56 times the best error, with onnxruntime's rule; without the spike it is as good as the others."""
    x = make("relu", 200_000).astype(np.float64)
    h = Histogram.of(x)
    best = observers.mse_range(h, 8)[1]
    flat = h.counts.copy()
    flat[0] = flat[1]
    error = {
        name: ((quantized(x, 0, end, 8) - x) ** 2).mean()
        for name, end in (
            ("best", best),
            ("entropy", observers.entropy_threshold(h)),
            ("without the spike", observers.entropy_threshold((flat, h.edges))),
            ("percentile", observers.percentile_range(h, 99.99)[1]),
        )
    }
    assert error["entropy"] > 50 * error["best"]
    assert error["without the spike"] < 1.5 * error["best"]
    assert error["percentile"] < 3 * error["best"]


# onnxruntime's rule


def symmetric_histogram(x, bins):
    x = x.astype(np.float32)
    t = np.float32(np.abs(x).max())
    counts, edges = np.histogram(x, bins, range=(-t, t))
    return counts, edges, x.min(), x.max(), t


def plain_onnxruntime(counts, edges, minimum, maximum, levels=128):
    """Its rule in a plain loop, in float64; the range, and by how much its divergence beats every other's."""
    half, centre = levels // 2, len(counts) // 2
    tried = []
    for i in range(half, centre + 1):
        start, end = centre - i, min(centre + i + 1, len(counts))
        p = counts[start:end].astype(float)
        p[0] += counts[:start].sum()
        p[-1] += counts[end:].sum()
        merged = len(p) // levels
        q = np.zeros(len(p))
        for level in range(levels):
            a, b = level * merged, (level + 1) * merged
            total = counts[start + a : start + b].sum()
            if level == levels - 1:
                total += counts[start + b : end].sum()
            used = (p[a:b] != 0).sum()
            if used:
                q[a:b] = total // used
        if not q.any():
            tried.append(math.inf)
            continue
        for v in (p, q):
            empty = v == 0
            v[~empty] -= 1e-4 * empty.sum() / (~empty).sum()
            v[empty] = 1e-4
        p, q = p / p.sum(), q / q.sum()
        tried.append(float((p * np.log(p / q)).sum()))
    best = int(np.argmin(tried))
    lead = sorted(tried)[1] - tried[best] if len(tried) > 1 else math.inf
    i = half + best
    ends = edges[centre - i], edges[min(centre + i + 1, len(counts))]
    return (max(ends[0], minimum), min(ends[1], maximum)), lead


@pytest.mark.parametrize("bins", [128, 129, 300, 515])
@pytest.mark.parametrize("kind", KINDS)
def test_onnxruntimes_rule_equals_a_plain_loop(kind, bins):
    histogram = symmetric_histogram(make(kind, 5000), bins)
    expected, lead = plain_onnxruntime(*histogram[:4])
    found = observers.onnxruntime_entropy_range(*histogram[:4])
    if lead > 1e-5:  # else float32 decides, as in onnxruntime
        assert found == pytest.approx(expected)


def onnxruntime_collector():
    reason = "onnxruntime and onnx are not installed: that our entropy ranges equal theirs was NOT tested"
    pytest.importorskip("onnx", reason=reason)
    pytest.importorskip("onnxruntime", reason=reason)
    from onnxruntime.quantization.calibrate import HistogramCollector

    return HistogramCollector("entropy", True, 2048, 128, 99.99, "same")


@pytest.mark.parametrize("kind", KINDS)
def test_ranges_equal_onnxruntimes(kind):
    collector = onnxruntime_collector()
    for bins, count in ((2048, 1000), (2048, 100_000), (129, 5000), (601, 5000)):
        histogram = symmetric_histogram(make(kind, count), bins)
        expected = tuple(float(end) for end in collector.get_entropy_threshold(histogram, 128))
        assert observers.onnxruntime_entropy_range(*histogram[:4]) == expected


def test_onnxruntimes_rule_refuses_what_it_cannot_merge():
    with pytest.raises(ValueError, match="at least as many bins"):
        observers.onnxruntime_entropy_range([1, 2], [-1, 0, 1], -1, 1)
    with pytest.raises(ValueError, match="and a value"):
        observers.onnxruntime_entropy_range([0] * 200, np.linspace(-1, 1, 201), -1, 1)
