"""Ranges for activations, here and by others: ``python benchmarks/calibration.py`` prints two tables.

The first table is speed: the entropy thresholds of 2048-bin histograms, as a ratio to onnxruntime's time for the same
histograms in the same process, and whether the thresholds are the same. Implementations take turns; a figure is the
median over the rounds of the processor time, with one thread.

The second is worth: the mean squared error of 8-bit codes with each method's range, as a ratio to that of the best of
40,000 ranges tried on the values themselves.

onnxruntime and onnx come by ``pip install '.[dev]'``; without them their lines are left out, by name.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from course_utils.quantization import observers
from course_utils.quantization.observers import Histogram

BINS, LEVELS = 2048, 128
Range = tuple[float, float]


def data(count: int) -> dict[str, np.ndarray]:
    """float32 values of the kinds that layers have."""
    rng = np.random.default_rng(0)
    gaussian, outliers = rng.normal(size=count), rng.normal(size=count)
    outliers[:20] = rng.normal(size=20) * 8
    kinds = {
        "Gaussian": gaussian,
        "with 20 outliers": outliers,
        "Laplace": rng.laplace(size=count),
        "ReLU": np.maximum(rng.normal(size=count), 0),
    }
    return {name: values.astype(np.float32) for name, values in kinds.items()}


def symmetric(values: np.ndarray, bins: int = BINS) -> tuple:
    """A histogram as onnxruntime makes it: counts, edges, minimum, maximum, threshold."""
    size = np.abs(values).max()
    counts, edges = np.histogram(values, bins, range=(-size, size))
    return counts, edges, values.min(), values.max(), size


def onnxruntimes() -> Callable[[tuple], Range] | None:
    """onnxruntime's search, or None."""
    try:
        from onnxruntime.quantization.calibrate import HistogramCollector
    except ImportError:
        return None
    collector = HistogramCollector("entropy", True, BINS, LEVELS, 99.99, "same")

    def search(histogram: tuple) -> Range:
        low, high = collector.get_entropy_threshold(histogram, LEVELS)
        return float(low), float(high)

    return search


def plain_tensorrt(histogram: tuple[np.ndarray, np.ndarray]) -> float:
    """TensorRT's rule as one would write it down, with numpy for what is done in a window."""
    counts, edges = histogram
    found = []
    for i in range(LEVELS, len(counts) + 1):
        p = counts[:i].astype(float)
        p[-1] += counts[i:].sum()
        level = np.arange(i) * LEVELS // i
        used = np.maximum(np.bincount(level, p > 0, LEVELS), 1)
        q = (np.bincount(level, counts[:i], LEVELS) / used)[level][p > 0]
        p = p[p > 0] / p.sum()
        found.append(np.inf if (q == 0).any() else float((p * np.log(p / (q / q.sum()))).sum()))
    found = np.array(found)
    return float(edges[LEVELS + np.flatnonzero(found <= found.min() + 1e-9)[-1]])


def speed(rounds: int) -> None:
    values = data(100_000)
    signed = {name: symmetric(x) for name, x in values.items()}
    sizes = {name: np.histogram(np.abs(x), BINS, range=(0, np.abs(x).max())) for name, x in values.items()}
    theirs = onnxruntimes()
    calls: dict[str, Callable[[str], Any]] = {
        "onnxruntime's rule, course_utils": lambda name: observers.onnxruntime_entropy_range(*signed[name][:4]),
        "TensorRT's rule, course_utils": lambda name: observers.entropy_threshold(sizes[name], 8),
        "TensorRT's rule, plain loop": lambda name: plain_tensorrt(sizes[name]),
    }
    if theirs:
        calls = {"onnxruntime": lambda name: theirs(signed[name])} | calls
    seconds: dict[tuple[str, str], list[float]] = {(label, name): [] for label in calls for name in values}
    results = {}
    for _ in range(rounds):
        for label, call in calls.items():
            for name in values:
                started = time.process_time()
                results[label, name] = call(name)
                seconds[label, name].append(time.process_time() - started)
    base = "onnxruntime" if theirs else "TensorRT's rule, plain loop"
    print(f"entropy thresholds, {BINS} bins, {LEVELS} levels, 100,000 values: time as a ratio to {base}")
    print(f"{'':34s}" + "".join(f"{name:>18s}" for name in values) + "   same as")
    for label in calls:
        medians = [statistics.median(seconds[label, name]) for name in values]
        bases = [statistics.median(seconds[base, name]) for name in values]
        same = ""
        for one, other in (("onnxruntime's rule, course_utils", "onnxruntime"), (list(calls)[-2], list(calls)[-1])):
            if label == one and other in calls:
                equal = sum(results[one, name] == results[other, name] for name in values)
                same = f"   {other}: {equal} of {len(values)}"
        ratios = "".join(f"{b / m:15.1f} x" + " " for m, b in zip(medians, bases, strict=True))
        print(f"{label:34s}{ratios}{same}")
    print(f"({base}: {1000 * statistics.median(seconds[base, 'Gaussian']):.0f} ms for one histogram)\n")
    if not theirs:
        print("onnxruntime is not installed: left out\n")


def error(values: np.ndarray, low: float, high: float) -> float:
    low, high = min(low, 0.0), max(high, 0.0)
    step = (high - low) / 255 or 1.0
    zero = np.rint(-low / step)
    return float(((step * (np.clip(np.rint(values / step) + zero, 0, 255) - zero) - values) ** 2).mean())


def torch_histogram_observer(values: np.ndarray) -> Range:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated
        observer = torch.ao.quantization.HistogramObserver(dtype=torch.quint8)
        observer(torch.from_numpy(values))
        scale, zero = observer.calculate_qparams()
    return float(-zero * scale), float((255 - zero) * scale)


def worth(count: int) -> None:
    theirs = onnxruntimes()
    sizes = {name: Histogram.of(np.abs(x)) for name, x in data(count).items()}

    def entropy(x: np.ndarray, name: str, *, spike: bool) -> Range:
        counts = sizes[name].counts.copy()
        counts[0] = counts[0] if spike else counts[1]
        end = observers.entropy_threshold((counts, sizes[name].edges), 8)
        return max(-end, float(x.min())), min(end, float(x.max()))

    methods: dict[str, Callable[[np.ndarray, str], Range]] = {
        "min and max": lambda x, _: observers.min_max_range(x),
        "percentile 99.99": lambda x, _: observers.percentile_range(x, 99.99),
        "least squares": lambda x, _: observers.mse_range(Histogram.of(x), 8),
        "entropy, TensorRT's rule": lambda x, name: entropy(x, name, spike=True),
        "entropy, first bin levelled": lambda x, name: entropy(x, name, spike=False),
        "torch HistogramObserver": lambda x, _: torch_histogram_observer(x),
    }
    if theirs:
        methods[f"onnxruntime entropy, {BINS} bins"] = lambda x, _: theirs(symmetric(x))
        methods[f"onnxruntime entropy, {LEVELS} bins"] = lambda x, _: theirs(symmetric(x, LEVELS))
    print(f"mean squared error at 8 bits, {count:,} values: ratio to the best range (1.00)")
    print(f"{'':34s}" + "".join(f"{name:>18s}" for name in data(1000)))
    rows: dict[str, list[float]] = {label: [] for label in methods}
    for name, x in data(count).items():
        values = x.astype(np.float64)
        low, high = min(values.min(), 0.0), max(values.max(), 0.0)
        shares = np.arange(1, 201) / 200
        coarse = values[:: max(1, count // 4000)]
        ends = [(a * low, b * high) for a in (shares if low else [0.0]) for b in shares]
        errors = [error(coarse, *pair) for pair in ends] if low else [error(values, *pair) for pair in ends]
        finalists = [ends[i] for i in np.argsort(errors)[:200]] + [(s * low, s * high) for s in shares]
        found = {label: error(values, *method(x, name)) for label, method in methods.items()}
        best = min(min(error(values, *pair) for pair in finalists), *found.values())
        for label, value in found.items():
            rows[label].append(value / best)
    for label, row in rows.items():
        print(f"{label:34s}" + "".join(f"{r:18.2f}" for r in row))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--values", type=int, default=100_000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    speed(arguments.rounds)
    worth(arguments.values)


if __name__ == "__main__":
    main()
