# ---
# jupyter:
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
#   course:
#     title: Calibration
#     minutes: 165
#     check_seconds: 10
#     withhold:
#       - course_utils.quantization.observers
#       - course_utils.demos.threshold_slider
#       - torch.quantile
#       - torch.nanquantile
#       - numpy.quantile
#       - numpy.percentile
#       - numpy.nanquantile
#       - numpy.nanpercentile
#       - torch.nn.functional.kl_div
#       - torch.distributions.kl_divergence
#       - aten::quantile
#       - aten::nanquantile
#       - aten::kl_div
# ---

# %% [markdown]
# # Calibration
#
# **Goal.** A network's weights lie in a file, but its activations exist only while it runs. You write four ways to
# choose the range of an activation from a few example images, and a class that runs a whole network on 8-bit codes.
# Afterwards you can say what each way gets wrong, and when. **Time:** about 2¾ hours.
#
# You need Python and a little torch. What you need of earlier labs is repeated here in three small functions.
#
# include: how_to_work.md
#
# Refused here: those that the text above the exercise names.
#
# **Sources.** "The assignment" is the one on static quantization in Yung-Hsiang Lu's course *Computer Vision for
# Embedded Systems* (Purdue). "The lecture" is one on methods of quantization that quotes slides of NVIDIA; they come
# from a talk by Szymon Migacz, *8-bit Inference with TensorRT*, GTC 2017, session 7310. "ACIQ" is a paper by Ron Banner
# and colleagues, *ACIQ: Analytical Clipping for Integer Quantization of Neural Networks* (2018).

# %%
import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from course_utils.checks import *
from course_utils.networks import ClassyClassifier
from course_utils.pictures import COLOURS, use_course_style
from course_utils.quantization import QuantizedLayer

use_course_style()
torch.set_num_threads(1)  # most tensors here are small: a second thread would cost more than it gains


def scale_and_zeropoint(low, high, num_bits=8):
    """The grid for a range: 2^num_bits codes, one of which means exactly 0. Returns (scalefactor, zeropoint)."""
    low, high = min(low, 0.0), max(high, 0.0)
    scalefactor = (high - low) / (2**num_bits - 1) or 1.0
    return scalefactor, round(-low / scalefactor)


def quantize(x, scalefactor, zeropoint, num_bits=8):
    """Real numbers to codes 0 .. 2^num_bits - 1, as floats. What lies outside saturates."""
    return torch.clamp(torch.round(x / scalefactor) + zeropoint, 0, 2**num_bits - 1)


def dequantize(q, scalefactor, zeropoint):
    """Codes to real numbers."""
    return scalefactor * (q - zeropoint)


def histogram_of(values, bins=2048):
    """(counts, edges) over the range of the values, widened to contain 0: int64 (bins,) and float64 (bins + 1,)."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    counts, _ = torch.histogram(values.detach().flatten().double(), bins, range=(low, high))
    return counts.long(), torch.linspace(low, high, bins + 1, dtype=torch.float64)


# %% [markdown]
# ## Idea
#
# To quantize a tensor you need its range. For weights you look at them. For **activations**, the numbers that flow
# between the layers, there is nothing to look at until an image arrives; and a device that must find the smallest and
# largest activation of each layer of each image wastes the time that 8-bit arithmetic was meant to save. So the range
# is chosen *beforehand*: run the float network on a few hundred typical images, watch what goes into each layer,
# choose a range for each, and freeze it. This is **calibration**. It needs images but no labels, and no training.
#
# Load the network and 50 batches of 50 training images. The cell says which data it found. It records the input of
# each layer with weights; an *observer* keeps the minimum and maximum of each batch and a histogram of them all.

# %% tags=["explore"]
import functools

from course_utils.data import classification_data
from course_utils.networks import accuracy, load_trained, normalize
from course_utils.quantization import Observer

test_set, train_set = classification_data(train=False), classification_data(train=True)
print(test_set.note)
model = load_trained(f"classyclassifier-{test_set.name}")
batches = normalize(train_set.images[:2500]).split(50)
images, labels = normalize(test_set.images[:1000]), test_set.labels[:1000]

WEIGHTED = ["layer1_conv", "layer3_conv", "layer6_fc", "layer7_fc", "layer8_fc"]
recorded = {name: [] for name in WEIGHTED}  # the input of each layer, batch by batch
modules = dict(model.named_children())
hooks = [
    modules[name].register_forward_pre_hook(lambda _, inputs, name=name: recorded[name].append(inputs[0]))
    for name in WEIGHTED
]
with torch.no_grad():
    for batch in batches:
        model(batch)
for hook in hooks:
    hook.remove()


@functools.cache
def observed(name, first):
    """What an observer of this layer's input knows after so many batches."""
    observer = Observer()
    for batch in recorded[name][:first]:
        observer.observe(batch)
    return observer


print("\ninput of        smallest   largest   mean of the batches' largest   exactly 0")
for name in WEIGHTED:
    seen = observed(name, 50)
    zeros = sum(int((batch == 0).sum()) for batch in recorded[name]) / seen.histogram.total
    low, high = seen.average_range()
    print(f"{name:12s}{seen.histogram.min:12.3f}{seen.histogram.max:10.3f}{high:19.3f}{100 * zeros:23.1f} %")

# %% [markdown]
# All inputs but the first come out of a ReLU: nothing is below 0, and a large share of the values *is* 0 (the last
# column). Now look at one of them. The scale on the left is logarithmic: equal distances are equal ratios, and the
# small bars at the far end stand for a few values among hundreds of thousands. The bars under the histogram are three
# ranges that one might choose.

# %% tags=["explore"]
name = "layer7_fc"
histogram = observed(name, 50).histogram
counts, edges = histogram.counts, histogram.edges
small = 1 - np.cumsum(counts) / histogram.total  # share of the values beyond each right edge
candidates = {
    "largest of all": histogram.max,
    "mean of batches' largest": observed(name, 50).average_range()[1],
    "1 value in 1,000 outside": edges[1:][np.argmax(small <= 0.001)],
}
figure, (top, bottom) = plt.subplots(2, 1, figsize=(8.6, 4.4), sharex=True, height_ratios=[3, 1])
groups = np.arange(0, len(counts), 12)
shares = 100 * np.add.reduceat(counts, groups) / histogram.total
top.stairs(shares, np.append(edges[groups], edges[-1]), fill=True, color=COLOURS["sky"])
top.set_yscale("log")
top.set_ylabel("share of the values\nper bar (%, log)")
top.set_title(f"Input of {name} over {histogram.total:,} values")
for row, end in enumerate(candidates.values()):
    colour = [COLOURS["blue"], COLOURS["vermillion"], COLOURS["green"]][row]
    bottom.barh(-row, end, color=colour, height=0.7)
    top.axvline(end, color=colour, linestyle="--")
    outside = 100 * small[edges[1:] >= end][0]
    facts = f"step {end / 255:.4f}, {outside:.4f} % cut"
    bottom.text(0.01 * edges[-1], -row, facts, va="center", color="white", fontsize=9)
bottom.set_yticks([0, -1, -2], list(candidates))
bottom.grid(False)
bottom.set_xlabel("activation")
plt.show()

# %% [markdown]
# The largest value alone decides how coarse the grid is for all others. This is the whole difficulty. Every range
# $[a, b]$ has two errors, and they pull in opposite directions:
#
# $$
# \text{error} \;=\; \underbrace{\text{rounding of what lies inside}}_{\approx\; \Delta^2/12,\quad
# \Delta = (b-a)/(2^n-1)} \;+\; \underbrace{\text{cutting of what lies outside}}_{(x-b)^2 \text{ for } x > b}
# $$
#
# For values whose distribution is known one can do this with pen and paper. Take a Laplace distribution of scale
# $s$ around 0 and the range $[-\alpha, \alpha]$ cut into $2^n$ cells of width $2\alpha / 2^n$. ACIQ gets
#
# $$
# E(\alpha) = \frac{\alpha^2}{3 \cdot 4^n} + 2 s^2 e^{-\alpha/s}
# \qquad\text{and for a Gaussian}\qquad
# \frac{\alpha^2}{3 \cdot 4^n} + (\sigma^2 + \alpha^2)\left(1 - \operatorname{erf}\tfrac{\alpha}{\sigma\sqrt2}\right)
# - \sqrt{\tfrac{2}{\pi}}\,\alpha\sigma\, e^{-\alpha^2 / 2\sigma^2} .
# $$
#
# The first term is the rounding, the rest is the cutting. The picture draws the two for Laplace values, their sum, and
# points that were *measured* on random numbers. Look at where the sum is least.


# %% tags=["explore"]
def rounding_error(alpha, num_bits):
    return alpha**2 / (3 * 4**num_bits)


def laplace_cut(alpha):
    return 2 * np.exp(-alpha)


def gaussian_cut(alpha):
    erf = np.array([math.erf(a / math.sqrt(2)) for a in alpha])
    return (1 + alpha**2) * (1 - erf) - math.sqrt(2 / math.pi) * alpha * np.exp(-(alpha**2) / 2)


maker = torch.Generator().manual_seed(0)
uniform = torch.rand(200_000, generator=maker, dtype=torch.float64) - 0.5
laplace = -uniform.sign() * torch.log1p(-2 * uniform.abs())
alphas = np.arange(0.5, 16, 0.0005)

figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True)
for ax, n in zip(axes, (3, 5), strict=True):
    ax.plot(alphas, rounding_error(alphas, n), "--", color=COLOURS["green"], label="rounding")
    ax.plot(alphas, laplace_cut(alphas), ":", color=COLOURS["vermillion"], label="cutting")
    total = rounding_error(alphas, n) + laplace_cut(alphas)
    ax.plot(alphas, total, color=COLOURS["blue"], label="sum")
    for alpha in range(1, 15):
        cell = 2 * alpha / 2**n  # 2^n cells, each value goes to the middle of its own
        back = ((laplace / cell).floor() + 0.5).clamp(-(2 ** (n - 1)) + 0.5, 2 ** (n - 1) - 0.5) * cell
        mean = float((back - laplace).square().mean())
        ax.plot(alpha, mean, "o", color=COLOURS["black"], label="measured" if alpha == 1 else None)
    ax.axvline(alphas[total.argmin()], color="0.5", linewidth=1, label="least sum")
    ax.set_yscale("log")
    ax.set_ylim(1e-4, 3)
    ax.set_title(f"Laplace values, {n} bits: best at {alphas[total.argmin()]:.2f} s")
    ax.set_xlabel("threshold, in units of the scale s")
axes[0].set_ylabel("mean squared error (s², log)")
axes[1].legend(loc="lower right")
plt.show()

print("best threshold     " + "".join(f"{n:7d}" for n in range(2, 9)) + "   bits")
for label, cut, published in (
    ("Gaussian", gaussian_cut, (1.71, 2.15, 2.56, 2.94, 3.29, 3.62, 3.92)),
    ("Laplace", laplace_cut, (2.83, 3.90, 5.03, 6.20, 7.41, 8.65, 9.90)),
):
    found = [alphas[(rounding_error(alphas, n) + cut(alphas)).argmin()] for n in range(2, 9)]
    print(f"{label:10s} here    " + "".join(f"{f:7.2f}" for f in found))
    print(f"{'':10s} ACIQ    " + "".join(f"{p:7.2f}" for p in published))

# %% [markdown]
# (With 3 bits the measured points lie above the curve, for two reasons. Far out the cells are wide, and the values no
# longer spread evenly within a cell, which $\Delta^2/12$ takes for granted. And a value beyond the threshold is not
# sent to the threshold, as the formula has it, but to the middle of the last cell, half a cell further in. With 5 bits
# the cells are narrow, and neither matters.)
#
# The table puts the minimum of these two formulas beside the figures that the authors published: they agree to 0.01.
# More bits move the best threshold outwards: when the steps are fine anyway, cutting costs more than it saves. Real
# activations are neither Laplace nor Gaussian, so we choose from data. Four ways follow, each with its own idea of
# what matters.

# %% [markdown]
# ## Exercise 1: percentiles
#
# The simplest way to ignore outliers: leave out a fixed share at each end. `percentile_range(values, 99.9)` gives
# the value below which 0.1 % of all values lie, and the one below which 99.9 % lie.
#
# Between two values in rank one interpolates linearly. Sort $n$ values as $v_0 \le v_1 \le \dots \le v_{n-1}$. The
# percentile $p$ stands at position $r = (n-1)\,p/100$. If $r$ is not whole, it lies between $v_{\lfloor r \rfloor}$
# and its right neighbour:
#
# $$ v_{\lfloor r \rfloor} + (r - \lfloor r \rfloor)\,(v_{\lfloor r \rfloor + 1} - v_{\lfloor r \rfloor}) . $$
#
# Example: the values 10, 20, 30, 40, 50 and $p = 90$. The upper position is $4 \cdot 0.9 = 3.6$, so the upper bound
# is $40 + 0.6 \cdot 10 = 46$. The lower bound is the percentile $100 - 90 = 10$: position 0.4, value 14.
#
# $p = 100$ gives minimum and maximum, $p = 50$ the median twice. NaN and infinity are refused: they mean that the
# network is broken, and no range helps it. (Sorting puts NaN at the end, where it looks like a large outlier. The
# calibration of onnxruntime 1.31 drops NaN silently, the histogram observer of torch 2.15 raises an error. We raise.)
#
# Sort and interpolate yourself: `torch.quantile`, `numpy.quantile`, `numpy.percentile` and their relatives are refused
# in grading.


# %% nbgrader={"grade_id": "percentile_range", "solution": true}
def percentile_range(values, p):
    """The percentiles 100 - p and p of some values, with linear interpolation between neighbours in rank.

    Args:
        values: float tensor of any shape. It is not changed.
        p: number from 50 to 100.

    Returns:
        (low, high), Python floats in the unit of the values, low <= high.

    Raises:
        ValueError: if p is not in 50 .. 100; if there are no values, or a NaN or infinite one among them.
    """
    ### BEGIN SOLUTION
    if not 50 <= p <= 100:
        raise ValueError(f"p must lie in 50..100, not {p}")
    if values.numel() == 0:
        raise ValueError("no values, no percentile")
    if not values.isfinite().all():
        raise ValueError("there is NaN or infinity among the values")
    ranked = values.flatten().double().sort().values
    bounds = []
    for share in (1 - p / 100, p / 100):
        position = (len(ranked) - 1) * share
        left = math.floor(position)
        right = min(left + 1, len(ranked) - 1)
        bounds.append(float(ranked[left] + (position - left) * (ranked[right] - ranked[left])))
    return bounds[0], bounds[1]
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_percentile_range", "grade": true, "points": 2}
with check("percentile_range"):
    x = torch.tensor([30.0, 10.0, 50.0, 20.0, 40.0])
    result = percentile_range(x, 90)
    expect(
        isinstance(result, tuple) and len(result) == 2 and all(isinstance(b, float) for b in result),
        "the result is a tuple (low, high) of two Python floats",
        got=[type(b).__name__ for b in result] if isinstance(result, tuple) else type(result).__name__,
        hint="float(...) or .item() turns a one-element tensor into a number",
    )
    expect_close(
        result,
        [14.0, 46.0],
        "a percentile p stands at position (n - 1) p / 100 among the sorted values, with linear interpolation",
        within=1e-4,
        given="values 10, 20, 30, 40, 50 (not in order) and p = 90",
        hint="sort, take the neighbours at floor(position) and one further, and go the remaining part of the way",
    )
    expect_close(
        percentile_range(x, 100),
        [10.0, 50.0],
        "p = 100 gives the minimum and the maximum",
        within=0,
        given="values 10, 20, 30, 40, 50",
        hint="the last position has no right neighbour",
    )
    expect_close(
        percentile_range(x[:4], 50),
        [25.0, 25.0],
        "p = 50 gives the median at both ends",
        within=1e-4,
        given="values 30, 10, 50, 20",
        hint="both positions are (n - 1) / 2",
    )
    ### BEGIN HIDDEN TESTS
    g = generator()

    def percentiles(values, p):
        ranked = values.double().flatten().sort().values
        position = (len(ranked) - 1) * torch.tensor([1 - p / 100, p / 100], dtype=torch.float64)
        left = position.floor().long()
        return torch.lerp(ranked[left], ranked[(left + 1).clamp(max=len(ranked) - 1)], position - left)

    for count in (1, 2, 3, 10, 101, 5000):
        for p in (50, 75, 90, 99, 99.9, 99.99, 100):
            values = torch.randn(count, generator=g).exp() - 2
            before = values.clone()
            result = expect_returns(
                lambda values=values, p=p: percentile_range(values, p),
                "every p from 50 to 100 and every number of values gives a range",
                given=f"{count} values, p = {p}",
                hint="the last position has no right neighbour",
            )
            # positions are good to 1e-12 in float64; float32 values and differences to 2^-23 of their size
            expect_close(
                result,
                percentiles(values, p),
                "a percentile p stands at position (n - 1) p / 100 among the sorted values, with linear interpolation",
                within=2**-20 * float(values.abs().max()),
                given=f"{count} values from {float(values.min()):.6g} to {float(values.max()):.6g}, p = {p}",
                hint="low is the percentile 100 - p, high the percentile p, and both interpolate",
            )
            expect_equal(values, before, "the values are not changed", hint="avoid methods that end in _")
    values = torch.randn(4, 5, 6, generator=g)
    expect_close(
        percentile_range(values, 97),
        percentiles(values, 97),
        "a tensor of any shape is taken as one list of values",
        within=2**-20 * 5,
        given="shape (4, 5, 6), p = 97",
        hint="flatten first",
    )
    tiny = torch.randn(50, generator=g) * 1e-30
    expect_close(
        percentile_range(tiny, 99),
        percentiles(tiny, 99),
        "values as small as 1e-30 are ordinary values",
        within=2**-20 * 5e-30,
        given="50 values near 1e-30, p = 99",
        hint="no epsilon, no threshold",
    )
    for constant in (0.0, 3.25):
        expect_close(
            percentile_range(torch.full((7,), constant), 99.9),
            [constant, constant],
            "constant values give that constant at both ends",
            within=0,
            given=f"seven times {constant}",
        )
    for bad, why in (
        (torch.tensor([1.0, float("nan"), 2.0]), "values with NaN are refused"),
        (torch.tensor([1.0, float("inf"), 2.0]), "infinite values are refused"),
        (torch.tensor([1.0, float("-inf"), 2.0]), "infinite values are refused"),
        (torch.empty(0), "an empty tensor is refused"),
    ):
        expect_raises(ValueError, lambda bad=bad: percentile_range(bad, 99), why, given=bad, hint="raise ValueError")
    for p in (49.9, 100.1, 0.999, -1):
        expect_raises(
            ValueError,
            lambda p=p: percentile_range(x, p),
            "a p outside 50 .. 100 is refused",
            given=f"p = {p}",
            hint="raise ValueError",
        )
    ### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 2: least squares
#
# A percentile cuts the same share whether the tail is short or long. Better: try many ranges, calculate what each one
# costs, take the cheapest. To try a range on millions of values would be slow, so we try it on a **histogram**:
# `counts` says how many values lie in each bin, `edges` where the bins begin and end, and every value counts as if it
# stood in the **middle of its bin**, $c_i = (e_i + e_{i+1})/2$.
#
# With $Q$ for "quantize and dequantize" the error of a range is
#
# $$ \frac{\sum_i n_i \, \big(Q(c_i) - c_i\big)^2}{\sum_i n_i} , $$
#
# and it contains both errors of the picture above, the rounding and the cutting. There are 100 candidates: both ends
# of the histogram's range, widened to contain 0, shrunk by the same factor,
#
# $$ \left[\tfrac{k}{100}\, a,\; \tfrac{k}{100}\, b\right], \qquad k = 1, \dots, 100, \qquad
# a = \min(0, e_0),\; b = \max(0, e_B) . $$
#
# Use the given `scale_and_zeropoint`, `quantize` and `dequantize`, with $Q$'s arithmetic in float64
# (`edges` are float64 already).


# %% nbgrader={"grade_id": "mse_range", "solution": true}
def mse_range(histogram, num_bits=8):
    """The range with the least mean squared error among 100 candidates.

    Args:
        histogram: (counts, edges), int64 (B,) and float64 (B + 1,). Each value counts as its bin's middle.
        num_bits: whole number from 1 to 16, of the grid.

    Returns:
        (low, high), Python floats: k/100 of the histogram's range (widened to contain 0) for a k in 1 .. 100. Of
        equally good ones any will do.

    Raises:
        ValueError: if the histogram holds no value (all counts are 0).
    """
    ### BEGIN SOLUTION
    counts, edges = histogram
    if counts.sum() == 0:
        raise ValueError("the histogram holds no value")
    middles = (edges[:-1] + edges[1:]) / 2
    lowest, highest = min(float(edges[0]), 0.0), max(float(edges[-1]), 0.0)
    best, best_error = None, math.inf
    for k in range(1, 101):
        low, high = k / 100 * lowest, k / 100 * highest
        grid = scale_and_zeropoint(low, high, num_bits)
        back = dequantize(quantize(middles, *grid, num_bits), *grid)
        error = float((counts * (back - middles) ** 2).sum())
        if error < best_error:
            best, best_error = (low, high), error
    return best
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_mse_range", "grade": true, "points": 3}
with check("mse_range"):
    counts = torch.tensor([900, 600, 300, 90, 40, 20, 8, 3, 0, 1])
    edges = torch.linspace(0, 10, 11, dtype=torch.float64)
    result = mse_range((counts, edges), 2)
    expect(
        isinstance(result, tuple) and len(result) == 2,
        "the result is a tuple (low, high)",
        got=result,
        hint="end with: return low, high",
    )
    expect_close(
        result,
        [0.0, 4.4],
        "the candidate with the least sum of n (Q(c) - c)^2 wins",
        within=1e-6,
        given="counts 900, 600, 300, 90, 40, 20, 8, 3, 0, 1 on edges 0, 1, ..., 10, 2 bits",
        hint="c is the middle of the bin; cut bins count, too; hand num_bits to both the grid and quantize",
    )
    counts = torch.tensor([50, 30, 15, 4, 0, 0, 0, 0, 0, 1])
    expect_close(
        mse_range((counts, edges), 3),
        [0.0, 9.1],
        "an outlier is worth keeping when cutting it costs more than the finer steps save",
        within=1e-6,
        given="counts 50, 30, 15, 4, 0, 0, 0, 0, 0, 1 on the same edges, 3 bits",
        hint="the error of a candidate is the sum of n (Q(c) - c)^2 over all bins, those outside the range too",
    )
    counts = torch.tensor([1, 200, 3000, 3000, 200, 1])
    expect_close(
        mse_range((counts, torch.linspace(-3, 3, 7, dtype=torch.float64)), 3),
        [-1.74, 1.74],
        "both ends shrink by the same factor k/100",
        within=1e-6,
        given="counts 1, 200, 3000, 3000, 200, 1 on edges -3, -2, ..., 3, 3 bits",
        hint="low = k/100 * a and high = k/100 * b",
    )
    ### BEGIN HIDDEN TESTS
    g = generator()

    def errors(histogram, num_bits):
        """The squared error of each of the 100 candidates, and the candidates."""
        counts, edges = histogram[0].double(), histogram[1].double()
        c = (edges[:-1] + edges[1:]) / 2
        share = torch.arange(1, 101, dtype=torch.float64)[:, None] / 100
        low, high = share * min(float(edges[0]), 0.0), share * max(float(edges[-1]), 0.0)
        step = (high - low) / (2**num_bits - 1)
        step[step == 0] = 1.0
        zero = torch.round(-low / step)
        back = (torch.round(c / step) + zero).clamp(0, 2**num_bits - 1).sub(zero) * step
        return ((back - c) ** 2 * counts).sum(1), torch.cat([low, high], 1)

    for bins in (1, 2, 24, 200):
        for num_bits in (1, 2, 4, 8):
            for sign in ("both", "above", "below", "far"):
                values = torch.randn(400, generator=g).exp()
                values = {"both": values - 2, "above": values, "below": -values, "far": values + 3}[sign]
                low, high = float(values.min()), float(values.max())
                if sign != "far":
                    low, high = min(low, 0.0), max(high, 0.0)
                counts, _ = torch.histogram(values.double(), bins, range=(low, high))
                histogram = counts.long(), torch.linspace(low, high, bins + 1, dtype=torch.float64)
                facts = f"{len(values)} values in {bins} bins from {low:.6g} to {high:.6g}, {num_bits} bits"
                result = expect_returns(
                    lambda histogram=histogram, num_bits=num_bits: mse_range(histogram, num_bits),
                    "every histogram with values gives a range, one bin or many",
                    given=facts,
                )
                error, candidates = errors(histogram, num_bits)
                nearest = (torch.tensor(result).double() - candidates).abs().sum(1).argmin()
                expect_close(
                    result,
                    candidates[nearest],
                    "the range is k/100 of the histogram's range, widened to contain 0, for a k in 1 .. 100",
                    within=1e-6 * float(candidates.abs().max()),
                    given=facts,
                    hint="both ends shrink together, from the outermost edges or 0",
                )
                # float32 arithmetic may move a value across a halfway point, at which both codes are equally far
                expect(
                    error[nearest] <= error.min() * (1 + 1e-4) + 1e-12 * error.max(),
                    "the candidate with the least sum of n (Q(c) - c)^2 wins",
                    given=facts,
                    expected=f"{candidates[error.argmin()].tolist()} with error {float(error.min()):.6g}",
                    got=f"{list(result)} with error {float(error[nearest]):.6g}",
                    hint="squares, weighted by the counts, at the middles of the bins, cut values included",
                )
    tiny = histogram_of(torch.rand(300, generator=g) * 1e-30, 128)
    error, candidates = errors(tiny, 4)
    expect_close(
        mse_range(tiny, 4),
        candidates[error.argmin()],
        "values as small as 1e-30 are ordinary values",
        within=2e-2 * 1e-30,
        given="300 values up to 1e-30 in 128 bins, 4 bits",
        hint="float32 cannot hold the square of 1e-30: calculate in float64",
    )
    expect_raises(
        ValueError,
        lambda: mse_range((torch.zeros(8, dtype=torch.int64), torch.linspace(0, 1, 9, dtype=torch.float64)), 8),
        "a histogram without values is refused",
        given="8 bins, all counts 0",
        hint="raise ValueError",
    )
    ### END HIDDEN TESTS

# %% [markdown]
# **Explore: your function against pen and paper.** For Gaussian numbers ACIQ's formula and your search should agree
# about where to cut. They cannot agree exactly: your grid has a code at 0 and $2^n - 1$ gaps where ACIQ has $2^n$
# cells; your candidates are one per cent of the largest number apart; and both your ends shrink by the same factor,
# though these numbers reach further on one side than on the other, so the two ends cannot both be best.

# %% tags=["explore"]
maker = torch.Generator().manual_seed(1)
normal = torch.randn(200_000, generator=maker)
histogram = histogram_of(normal)
print(f"largest magnitude {float(normal.abs().max()):.3f}, so the candidates are about 0.05 apart")
print("bits   ACIQ   yours (low, high)")
for n in range(3, 9):
    cut = alphas[(rounding_error(alphas, n) + gaussian_cut(alphas)).argmin()]
    low, high = mse_range(histogram, n)
    print(f"{n:4d}  {cut:5.2f}   {low:6.2f}, {high:.2f}")

# %% [markdown]
# ## Exercise 3: how much information is lost?
#
# TensorRT's calibration asks another question. Quantization turns the distribution $P$ of a layer's values into
# another one, $Q$ (from here on a distribution, no longer the quantizer of exercise 2). How much does a reader of $Q$
# miss who should have read $P$? Information theory answers with the **Kullback-Leibler divergence**:
#
# $$ D(P \,\|\, Q) = \sum_i p_i \ln \frac{p_i}{q_i} , \qquad \sum_i p_i = \sum_i q_i = 1 . $$
#
# With the natural logarithm its unit is the *nat*. It is 0 if and only if $P = Q$, never negative, and not symmetric.
# Two conventions complete it. Where $p_i = 0$ the term is 0, whatever $q_i$ is. Where $q_i = 0$ but $p_i > 0$, the
# divergence is infinite: $Q$ calls impossible what does happen.
#
# Example: $P = (\tfrac12, \tfrac12, 0)$ and $Q = (\tfrac18, \tfrac12, \tfrac38)$ give
# $\tfrac12 \ln 4 + \tfrac12 \ln 1 + 0 = 0.6931$ nats. The other way round it is infinite.
#
# (`torch.nn.functional.kl_div` and `torch.distributions.kl_divergence` are refused in grading.)


# %% nbgrader={"grade_id": "kl_divergence", "solution": true}
def kl_divergence(p, q):
    """The Kullback-Leibler divergence D(p || q), in nats.

    Args:
        p, q: tensors (N,) of one length, finite whole numbers or floats, none negative: counts or probabilities. Each
            is divided by its own sum first. They are not changed.

    Returns:
        Python float, 0 or more; math.inf if q is 0 somewhere where p is not.

    Raises:
        ValueError: if the shapes differ, if a number is negative or NaN, or if p or q sums to 0.
    """
    ### BEGIN SOLUTION
    if p.shape != q.shape:
        raise ValueError(f"the shapes {tuple(p.shape)} and {tuple(q.shape)} differ")
    p, q = p.double(), q.double()
    if not ((p >= 0).all() and (q >= 0).all()):
        raise ValueError("counts and probabilities are not negative, nor NaN")
    if p.sum() == 0 or q.sum() == 0:
        raise ValueError("nothing cannot be normalized")
    p, q = p / p.sum(), q / q.sum()
    used = p > 0
    if (q[used] == 0).any():
        return math.inf
    return float((p[used] * torch.log(p[used] / q[used])).sum().clamp(min=0.0))
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_kl_divergence", "grade": true, "points": 2}
with check("kl_divergence"):
    p, q = torch.tensor([0.5, 0.5, 0.0]), torch.tensor([0.125, 0.5, 0.375])
    result = kl_divergence(p, q)
    expect(
        isinstance(result, float),
        "the result is a Python float",
        got=type(result).__name__,
        hint="float(...) or .item()",
    )
    expect_close(
        result,
        0.5 * math.log(4),
        "the divergence is the sum of p ln(p / q), and a term with p = 0 is 0",
        within=1e-6,
        given="p = (1/2, 1/2, 0), q = (1/8, 1/2, 3/8)",
        hint="the natural logarithm, p in front and on top; leave out the terms with p = 0 before you take it",
    )
    expect_equal(
        kl_divergence(q, p),
        math.inf,
        "the divergence is infinite where q is 0 and p is not",
        given="p = (1/8, 1/2, 3/8), q = (1/2, 1/2, 0)",
        hint="test for it first; no small number instead of 0",
    )
    expect_close(
        kl_divergence(torch.tensor([6, 0, 2]), torch.tensor([1, 1, 2])),
        0.75 * math.log(3) + 0.25 * math.log(0.5),
        "counts are divided by their sums first",
        within=1e-6,
        given="p = (6, 0, 2), q = (1, 1, 2)",
        hint="p / p.sum() and q / q.sum()",
    )
    ### BEGIN HIDDEN TESTS
    g = generator()
    for count in (1, 2, 7, 300):
        for kind in ("counts", "floats", "one-sided zeros"):
            p, q = (torch.randint(1, 1000, (count,), generator=g) for _ in range(2))
            if kind == "floats":
                p, q = p.double() / 977, q.double() / 31
            if kind == "one-sided zeros":
                p[torch.rand(count, generator=g) < 0.5] = 0
                p[0] = 5
            before = p.clone(), q.clone()
            p1, q1 = p.double() / p.sum(), q.double() / q.sum()
            expected = float(torch.where(p1 > 0, p1 * (p1.clamp(min=1e-300) / q1).log(), 0.0).sum())
            # a sum of 300 float32 terms, each good to 2^-23 of a few nats
            expect_close(
                kl_divergence(p, q),
                expected,
                "the divergence is the sum of p ln(p / q), and a term with p = 0 is 0",
                within=2e-5,
                given=f"{count} numbers, {kind}",
                hint="both normalized, natural logarithm, p in front and above",
            )
            expect(
                torch.equal(p, before[0]) and torch.equal(q, before[1]),
                "p and q are not changed",
                hint="p = p / p.sum(), not p /= p.sum()",
            )
            expect_close(
                kl_divergence(p, p * 3),
                0.0,
                "the divergence of equal distributions is 0",
                within=1e-6,
                given="q = 3 p",
                hint="normalize both; where both are 0 the term is 0",
            )
    p, q = torch.tensor([5, 3, 2, 0]), torch.tensor([5, 3, 0, 2])
    expect_equal(
        kl_divergence(p, q),
        math.inf,
        "the divergence is infinite where q is 0 and p is not",
        given="p = (5, 3, 2, 0), q = (5, 3, 0, 2)",
        hint="one such place is enough",
    )
    for p, q, why in (
        (torch.tensor([1, 2]), torch.tensor([3]), "two different lengths are refused"),
        (torch.tensor([1.0, -1.0, 2.0]), torch.tensor([1.0, 1.0, 1.0]), "negative numbers are refused"),
        (torch.tensor([1.0, 1.0, 1.0]), torch.tensor([1.0, -1.0, 2.0]), "negative numbers are refused"),
        (torch.tensor([1.0, math.nan]), torch.tensor([1.0, 1.0]), "NaN is refused"),
        (torch.tensor([0, 0]), torch.tensor([1, 1]), "a p or q that sums to 0 is refused"),
        (torch.tensor([1, 1]), torch.tensor([0, 0]), "a p or q that sums to 0 is refused"),
    ):
        expect_raises(
            ValueError,
            lambda p=p, q=q: kl_divergence(p, q),
            why,
            given=f"p = {p.tolist()}, q = {q.tolist()}",
            hint="raise ValueError before you divide",
        )
    ### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 4: TensorRT's threshold
#
# The lecture's slide: run the float network, collect a histogram of each layer's activations, *generate many quantized
# distributions with different saturation thresholds, pick the threshold which minimizes* $D(\text{ref} \,\|\,
# \text{quant})$. The details are in NVIDIA's talk.
#
# The histogram is one of **magnitudes**: $B$ bins from 0 up (TensorRT takes 2048). An 8-bit code of TensorRT has a
# sign, so $L = 2^{8-1} = 128$ levels are left for a magnitude. (Ours have none, and behind a ReLU all 256 codes are for
# magnitudes; we keep TensorRT's rule as it is.) A threshold is always the right edge of a bin. For every
# $i = L, \dots, B$, so for every way to keep the first $i$ bins, build two distributions over these $i$ bins:
#
# - The **reference** $P$ has the bins' counts, and everything that lies further out is added to the *last* bin, $i -
#   1$. This is what saturation does.
# - The **candidate** $Q$ is what 128 levels can still tell. Take the counts of the $i$ bins *without* what lies
#   further out. Bin $j$ goes to level $\lfloor j L / i \rfloor$. Each level knows only its total, and spreads it
#   evenly again, but only over those of its bins where $P$ is not 0. Bins where $P$ is 0 get 0.
#
# The threshold is `edges[i]` for the $i$ with the least $D(P \,\|\, Q)$.
#
# By hand: counts 6, 0, 3, 1, 2, 0, 1, 1 and 2 bits, so $L = 2$. Take $i = 5$. Further out lie $0 + 1 + 1 = 2$ values,
# so $P = (6, 0, 3, 1, 2 + 2)$. The levels of the five bins are $\lfloor 2j/5 \rfloor = 0, 0, 0, 1, 1$; their totals
# are $6 + 0 + 3 = 9$ and $1 + 2 = 3$. The first spreads its 9 over the two bins with $P > 0$, the second its 3 over
# two: $Q = (4.5, 0, 4.5, 1.5, 1.5)$. Both divided by their sums, 14 and 12, give $D = 0.1335$ nats. For $i = 4$ it is
# less, 0.0777, and no other $i$ does better: the threshold is `edges[4]`.
#
# Note the trick: what is cut appears in $P$ and not in $Q$, so $Q$ pays for each value that was cut. And the coarser
# the levels, the less $Q$ looks like $P$ within a level. If the last level has no counts of its own while values were
# cut, $D$ is infinite, and this $i$ is out. So it is if none of the first $i$ bins holds a value: then $Q$ is 0
# everywhere, and no distribution at all.
#
# You may call your `kl_divergence`, or write its sum again, faster. With 2048 bins there are 1,921 thresholds to try,
# so a loop over $i$ is fine, but leave the loops inside it to torch.


# %% nbgrader={"grade_id": "entropy_threshold", "solution": true}
def entropy_threshold(histogram, num_bits=8):
    """The saturation threshold with the least Kullback-Leibler divergence, as TensorRT chooses it.

    Args:
        histogram: (counts, edges) of magnitudes: int64 (B,), float64 (B + 1,) with edges[0] = 0.
        num_bits: whole number from 2 to 16; L = 2^(num_bits - 1) levels are for the magnitude.

    Returns:
        Python float, one of edges[L] .. edges[B]; of equally good ones any will do. With B <= L there is nothing to
        choose, and it is the last edge.

    Raises:
        ValueError: if the histogram holds no value (all counts are 0).
    """
    ### BEGIN SOLUTION
    counts, edges = histogram
    counts = counts.double()
    if counts.sum() == 0:
        raise ValueError("the histogram holds no value")
    levels, bins = 2 ** (num_bits - 1), len(counts)
    best, least = float(edges[-1]), math.inf
    for i in range(levels, bins + 1):
        p = counts[:i].clone()
        p[-1] += counts[i:].sum()
        used = p > 0
        level = torch.arange(i) * levels // i
        total = torch.zeros(levels, dtype=torch.float64).index_add(0, level, counts[:i])
        spread = torch.zeros(levels, dtype=torch.float64).index_add(0, level, used.double())
        q = (total / spread)[level][used]
        if (q == 0).any():
            continue
        p = p[used]
        divergence = float((p / p.sum() * torch.log((p / p.sum()) / (q / q.sum()))).sum())
        if divergence < least:
            best, least = float(edges[i]), divergence
    return best
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_entropy_threshold", "grade": true, "points": 5}
with check("entropy_threshold"):
    counts = torch.tensor([6, 0, 3, 1, 2, 0, 1, 1])
    edges = torch.linspace(0, 4, 9, dtype=torch.float64)
    # D for i = 2 .. 8: infinite, 0.1186, 0.0777, 0.1335, 0.0803, 0.1514, 0.1602
    result = entropy_threshold((counts, edges), 2)
    expect(
        isinstance(result, float),
        "the result is a Python float",
        got=type(result).__name__,
        hint="float(edges[i])",
    )
    expect(
        min(abs(result - edge) for edge in edges[2:].tolist()) < 1e-6,
        "the threshold is one of edges[L] .. edges[B]",
        given="8 bins with edges 0, 0.5, ..., 4 and 2 bits, so L = 2",
        got=result,
        hint="the first candidate keeps L bins, the last one all; the result is in the unit of the values",
    )
    expect_close(
        result,
        2.0,
        "the threshold is edges[i] for the i with the least divergence",
        within=1e-6,
        given="counts 6, 0, 3, 1, 2, 0, 1, 1 on edges 0, 0.5, ..., 4, 2 bits: the example in the text",
        hint="go through the example in the text; for i = 5 the divergence is 0.1335",
    )
    expect_close(
        entropy_threshold((counts, edges), 8),
        4.0,
        "with fewer bins than levels the threshold is the last edge",
        within=0,
        given="8 bins, 128 levels",
        hint="there is no i from L to B then",
    )
    flat = torch.full((40,), 25)
    expect_close(
        entropy_threshold((flat, torch.linspace(0, 1, 41, dtype=torch.float64)), 3),
        1.0,
        "values spread evenly need no cut: the whole range is the best candidate",
        within=1e-9,
        given="40 bins with 25 values each, 3 bits",
        hint="i goes up to B itself, the candidate that cuts nothing",
    )
    ### BEGIN HIDDEN TESTS
    from course_utils.quantization import entropy_curve  # the same by prefix sums; its tests compare it to a plain loop

    g = generator()

    def magnitudes(kind, count):
        values = torch.randn(count, generator=g)
        if kind == "relu":
            values = values.clamp(min=0)
        if kind == "outliers":
            values[: count // 50] *= 8
        if kind == "long tail":
            values = (1.3 * values).exp()
        return values.abs()

    kinds = ("gaussian", "relu", "outliers", "long tail")
    cases = [
        *((kind, 3000, 70, bits) for kind in kinds for bits in (2, 3, 4, 5)),
        *((kind, 200, 150, bits) for kind in kinds for bits in (4, 8)),
        *((kind, 40, 61, bits) for kind in kinds for bits in (3, 4)),
        ("gaussian", 50_000, 300, 8),
        ("relu", 50_000, 2048, 8),
    ]
    for kind, count, bins, num_bits in cases:
        histogram = histogram_of(magnitudes(kind, count), bins)
        facts = f"{count} values ({kind}) in {bins} bins up to {float(histogram[1][-1]):.6g}, {num_bits} bits"
        thresholds, divergence = (torch.from_numpy(a) for a in entropy_curve(histogram, num_bits))
        result = expect_returns(
            lambda histogram=histogram, num_bits=num_bits: entropy_threshold(histogram, num_bits),
            "every histogram with values gives a threshold",
            given=facts,
            hint="a level without any used bin divides by 0; a divergence may be infinite",
        )
        nearest = int((thresholds - float(result)).abs().argmin())
        expect_close(
            result,
            thresholds[nearest],
            "the threshold is one of edges[L] .. edges[B]",
            within=1e-6 * float(thresholds[-1]),
            given=facts,
            hint="the right edge of the last bin that is kept, in the unit of the values",
        )
        # float32 sums of up to 2048 terms are good to about 1e-5 nats
        expect(
            divergence[nearest] <= divergence.min() + 2e-5,
            "the threshold is edges[i] for the i with the least divergence",
            given=facts,
            expected=f"{float(thresholds[divergence.argmin()]):.6g} with {float(divergence.min()):.6g} nats",
            got=f"{float(result):.6g} with {float(divergence[nearest]):.6g} nats",
            hint="cut values count in P only; bin j belongs to level floor(j L / i); spread only where P > 0",
        )
    few = "with fewer bins than levels the threshold is the last edge"
    empty = "a candidate whose last level is empty while values were cut has an infinite divergence"
    for counts, rule in (([7], few), ([0, 0, 9], few), ([0] * 9 + [4], empty), ([9, 0, 0, 0, 0, 0, 0, 0, 1], empty)):
        histogram = torch.tensor(counts), torch.linspace(0, 1e-30, len(counts) + 1, dtype=torch.float64)
        result = expect_returns(
            lambda histogram=histogram: entropy_threshold(histogram, 3),
            "every histogram with values gives a threshold",
            given=f"counts {counts}, 3 bits",
            hint="a level without any used bin divides by 0; a divergence may be infinite",
        )
        expect_close(
            result,
            1e-30,
            rule,
            within=1e-36,
            given=f"counts {counts} on edges from 0 to 1e-30, 3 bits",
            hint="where q = 0 and p > 0, this i is out",
        )
    expect_raises(
        ValueError,
        lambda: entropy_threshold((torch.zeros(300, dtype=torch.int64), torch.linspace(0, 1, 301).double()), 8),
        "a histogram without values is refused",
        given="300 bins, all counts 0",
        hint="raise ValueError",
    )
    ### END HIDDEN TESTS

# %% [markdown]
# ## Explore: where entropy fails
#
# Now your functions meet real activations. For the input of each layer: where do the four ways cut, and what is the
# mean squared error at 8 bits? The last column is the error divided by the least one in the row.

# %% tags=["explore"]


def cut_at(histogram, threshold):
    """The range from -threshold to threshold, as far as there are values."""
    return max(-threshold, min(histogram.min, 0.0)), min(threshold, histogram.max)


def without_spike(pair):
    """The histogram with as many values in the first bin as in the second."""
    counts, edges = pair
    counts = counts.clone()
    counts[0] = counts[1]
    return counts, edges


@functools.cache
def percentiles(name, first):
    return percentile_range(torch.cat([batch.flatten() for batch in recorded[name][:first]]), 99.9)


@functools.cache
def choices(name, first, num_bits):
    """Method -> (low, high) for a layer's input, by your functions, from so many batches."""
    histogram = observed(name, first).histogram
    sizes = histogram.magnitudes().pair()
    return {
        "min and max": (histogram.min, histogram.max),
        "percentile 99.9": percentiles(name, first),
        "least squares": mse_range(histogram.pair(), num_bits),
        "entropy": cut_at(histogram, entropy_threshold(sizes, num_bits)),
        "entropy, no spike": cut_at(histogram, entropy_threshold(without_spike(sizes), num_bits)),
    }


def error_of(histogram, low, high, num_bits):
    middles = (histogram.edges[:-1] + histogram.edges[1:]) / 2
    grid = scale_and_zeropoint(low, high, num_bits)
    back = dequantize(quantize(torch.from_numpy(middles), *grid, num_bits), *grid).numpy()
    return ((back - middles) ** 2 * histogram.counts).sum() / histogram.total


for name in WEIGHTED:
    histogram = observed(name, 50).histogram
    found = {way: error_of(histogram, *ends, 8) for way, ends in choices(name, 50, 8).items()}
    print(f"input of {name}")
    for way, error in found.items():
        low, high = choices(name, 50, 8)[way]
        print(f"    {way:18s} [{low:6.2f}, {high:6.2f}]   mse {error:.2e}   x {error / min(found.values()):.1f}")

# %% [markdown]
# The input image is a curious case. Its pixels come from 256 levels, so one would expect that 8 bits keep them
# exactly. But the range $[-1, 1]$ has its 0 in the middle *between* two of these levels, and a code must mean exactly
# 0: so the whole grid is shifted by half a step, and every pixel is off by just that. A slightly different step does
# better. (The table takes each value for the middle of its bin, as `mse_range` does, so its figure is not exactly the
# square of half a step.)
#
# Now look at `entropy` behind a ReLU. It cuts the activations at a small part of their range, and its squared error is
# far beyond the least one: see the last column. This is no bug in your code, it is what the rule says. The demo shows
# why, for the layers behind a ReLU. It draws the histogram of a layer's magnitudes and, below it, both measures for
# every threshold. Move the threshold, the black line: what is shaded is cut. The coloured lines are your functions'
# choices at 8 bits. Where the blue curve is interrupted the divergence is infinite: the last level holds no values of
# its own, while further out there are some.
#
# (Why are entropy's thresholds such round numbers? The observer's bins are as wide as a power of two, so that it can
# fold two of them into one when larger values arrive; between 1,024 and 2,048 of them are in use. The lowest threshold
# is the end of bin number 128.)

# %% tags=["explore"]
from course_utils.demos import threshold_demo, threshold_still

layers = {name: observed(name, 50).histogram for name in WEIGHTED[1:]}
marks = {name: {way: choices(name, 50, 8)[way][1] for way in ("entropy", "least squares")} for name in layers}
display(threshold_demo(layers, marks))

# %% [markdown]
# The same without widgets, for two of the layers. Here the black line stands where the squared error is least.

# %% tags=["explore"]
display(threshold_still({name: layers[name] for name in ("layer3_conv", "layer8_fc")}, marks))

# %% [markdown]
# The divergence climbs a staircase, and each stair begins just above a whole multiple of the lowest threshold. Here
# is why. The first bin holds all the exact zeros that ReLU made, many times as many values as any other bin. At
# $i = 128$, the lowest threshold, this bin has a level to itself, so $Q$ gets it right. From $i = 129$ on it shares
# its level with a second bin, and the level spreads its count *evenly*: a spike beside an ordinary bin becomes two bins
# of middle height. Above $i = 256$ it shares with a third bin, which makes another stair, and so on. Along a stair the
# divergence falls, because less is cut, but each step up costs more than is won, so the least divergence stands at the
# end of one of the first stairs. So entropy calibration protects the *shape* of the histogram around zero, where the
# network needs no help: the code for 0 is exact anyway.
#
# The squared error does not care: it weighs a value by how far it moves, and values in the spike do not move.
#
# There is a simple remedy, and you have seen its result in the table above as "entropy, no spike": give the first bin
# as many values as the second has, then search. (NVIDIA's own toolkit for PyTorch, `pytorch-quantization`, does that in
# its entropy calibration.) The next cell draws both curves, again interrupted where the divergence is infinite.

# %% tags=["explore"]
from course_utils.quantization import entropy_curve

figure, axes = plt.subplots(1, 2, figsize=(10, 3.4))
for ax, name in zip(axes, ("layer3_conv", "layer7_fc"), strict=True):
    pair = layers[name].magnitudes().pair()
    for label, histogram, style in (("with the spike", pair, "-"), ("without", without_spike(pair), "--")):
        thresholds, divergence = entropy_curve(histogram, 8)
        colour = COLOURS["vermillion" if style == "-" else "blue"]
        ax.plot(thresholds, divergence, style, color=colour, label=label)
        chosen = entropy_threshold(histogram, 8)
        ax.plot(chosen, divergence[np.abs(thresholds - chosen).argmin()], "o", color=colour, markersize=8)
    ax.set_yscale("log")
    ax.set_title(f"input of {name}, 8 bits; dots: your choice")
    ax.set_xlabel("threshold on the magnitude of the values")
axes[0].set_ylabel("KL divergence (nats, log)")
axes[0].legend()
plt.show()

# %% [markdown]
# ## Exercise 5: a quantized network
#
# Now the whole thing, as in the Purdue assignment: a class that calibrates `ClassyClassifier` and then runs it on
# codes. The network has eight layers. Five have weights, and a `ReLU` follows all of them but the last:
#
# | layer | what | then | codes on the grid of |
# |---|---|---|---|
# | | the image | quantize | input of `layer1_conv` |
# | `layer1_conv` | convolution | ReLU | input of `layer3_conv` |
# | `layer2_pool` | largest of 2 x 2 | | the same |
# | `layer3_conv` | convolution | ReLU | input of `layer6_fc` |
# | `layer4_pool` | largest of 2 x 2 | | the same |
# | `layer5_flat` | flatten | | the same |
# | `layer6_fc` | linear | ReLU | input of `layer7_fc` |
# | `layer7_fc` | linear | ReLU | input of `layer8_fc` |
# | `layer8_fc` | linear | | `output` |
# | | ten logits | dequantize | |
#
# Layers with weights are run by a `QuantizedLayer` (you build one in lab 3; here it comes ready made):
# `layer.run_quantized_layer(q, x_scalefactor, x_zeropoint, out_scalefactor, out_zeropoint)` takes codes on one grid
# and gives codes on another. The output's grid is the one that the *next layer with weights* expects; for `layer8_fc`
# it is that of `output`. **Pooling and flattening** work on codes directly and change no grid: codes are in the same
# order as the values, so the largest code belongs to the largest value.
#
# **ReLU on codes.** The assignment writes `F.relu(x)` there, with codes from 0 to 255. That does nothing at all! A code
# is never negative; the code that means 0 is the zero point. ReLU on codes is `max(q, zeropoint)`. In the assignment
# all ends well, because the range of a ReLU's output begins at 0, so its zero point is 0 and saturation has done the
# work. With any other range it would be wrong. Yours must be right for every zero point.
#
# **Calibration.** For each batch and each of the eight layers, record the minimum and the maximum of the layer's
# *input*, and of the network's output under the name `"output"`. Then average the minima and the maxima over the
# batches, and make a grid for this average range. (The assignment says: "the min/max of each layer's output (i.e. the
# preceding layer's input)". The output of a layer is the *following* layer's input, of course.) Why the average? One
# strange image can stretch the range of its batch, but only a little that of the average.
#
# `LAYERS` and `RELU_AFTER` spare you some typing. `model.named_children()` gives the layers in order.

# %%
LAYERS = (
    "layer1_conv",
    "layer2_pool",
    "layer3_conv",
    "layer4_pool",
    "layer5_flat",
    "layer6_fc",
    "layer7_fc",
    "layer8_fc",
)
RELU_AFTER = ("layer1_conv", "layer3_conv", "layer6_fc", "layer7_fc")


# %% nbgrader={"grade_id": "quantizer_for_classy_classifier", "solution": true}
class QuantizerForClassyClassifier:
    """ClassyClassifier in 8 bits, with ranges of activations chosen by running the float network on examples.

    Args:
        model: a ClassyClassifier. It is not changed.

    Attributes:
        calibration_input_stats: dict with an entry for each of the eight LAYERS and for "output". An entry is a dict:
            "min", "max": lists of Python floats, the minimum and maximum of the layer's input, one for each batch;
            "avg_min", "avg_max": Python floats, the means of these lists;
            "input_scalefactor", "input_zeropoint": float and int, the 8-bit grid for [avg_min, avg_max].
            "output" stands for what layer8_fc gives. Empty before calibrate was called.
    """

    def __init__(self, model):
        self.model = model
        self.quantized_layers = {
            name: QuantizedLayer(layer)
            for name, layer in model.named_children()
            if isinstance(layer, (nn.Conv2d, nn.Linear))
        }
        self.calibration_input_stats = {}

    def calibrate(self, batches):
        """Runs the float network on batches and fills calibration_input_stats. A second call starts anew.

        Args:
            batches: iterable of float tensors (B, 3, 32, 32), to be gone through once. B may differ.

        Raises:
            ValueError: if there is no batch, or if a batch contains NaN or infinity.
        """
        ### BEGIN SOLUTION
        stats = {name: {"min": [], "max": []} for name in (*LAYERS, "output")}

        def record(name, values):
            stats[name]["min"].append(float(values.min()))
            stats[name]["max"].append(float(values.max()))

        with torch.no_grad():
            for x in batches:
                if not x.isfinite().all():
                    raise ValueError("a batch contains NaN or infinity")
                for name, layer in self.model.named_children():
                    record(name, x)
                    x = layer(x)
                    if name in RELU_AFTER:
                        x = F.relu(x)
                record("output", x)
        for entry in stats.values():
            if not entry["min"]:
                raise ValueError("calibration needs a batch")
            entry["avg_min"] = sum(entry["min"]) / len(entry["min"])
            entry["avg_max"] = sum(entry["max"]) / len(entry["max"])
            grid = scale_and_zeropoint(entry["avg_min"], entry["avg_max"])
            entry["input_scalefactor"], entry["input_zeropoint"] = grid
        self.calibration_input_stats = stats
        ### END SOLUTION

    def run_calibrated_quantized(self, x):
        """Runs the network on codes.

        The grids are read from calibration_input_stats at every call ("input_scalefactor" and "input_zeropoint" of the
        layers with weights and of "output"), so that another method's ranges can be written there.

        Args:
            x: float32 tensor (B, 3, 32, 32). It is not changed.

        Returns:
            float32 tensor (B, 10): the logits, dequantized.
        """
        ### BEGIN SOLUTION
        stats = self.calibration_input_stats
        order = [*self.quantized_layers, "output"]
        grids = {name: (stats[name]["input_scalefactor"], stats[name]["input_zeropoint"]) for name in order}
        q = quantize(x, *grids["layer1_conv"])
        for name, layer in self.model.named_children():
            if name in self.quantized_layers:
                following = grids[order[order.index(name) + 1]]
                q = self.quantized_layers[name].run_quantized_layer(q, *grids[name], *following)
                if name in RELU_AFTER:
                    q = q.clamp(min=following[1])
            else:
                q = layer(q)
        return dequantize(q, *grids["output"])
        ### END SOLUTION


# %% nbgrader={"grade_id": "check_calibrate", "grade": true, "points": 4}
@probe
def calibrated(weights, first, second=None):
    network = ClassyClassifier().eval()
    network.load_state_dict(weights)
    quantizer = QuantizerForClassyClassifier(network)
    for list_of_batches in (first, second):
        if list_of_batches is not None:
            quantizer.calibrate(iter(list_of_batches))
    same = all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
    return quantizer.calibration_input_stats, same


with check("quantizer_for_classy_classifier"):
    # a network that one can follow by hand: all weights are 0, so a layer's output is its bias
    network = ClassyClassifier()
    with torch.no_grad():
        for number, (parameter_name, parameter) in enumerate(network.named_parameters()):
            parameter.zero_()
            if parameter_name.endswith("bias"):
                parameter.copy_(torch.linspace(-1 - number, 2 + number, len(parameter)))
    weights = {key: value.detach() for key, value in network.state_dict().items()}
    examples = [torch.linspace(-low, high, 2 * 3 * 32 * 32).reshape(2, 3, 32, 32) for low, high in ((1, 1), (2, 4))]
    stats, _ = calibrated(weights, examples)
    expect(
        isinstance(stats, dict) and set(stats) == {*LAYERS, "output"},
        "calibration_input_stats has an entry for each of the eight layers and for the output",
        expected=[*LAYERS, "output"],
        got=list(stats) if isinstance(stats, dict) else stats,
        hint="self.calibration_input_stats is a dict of dicts",
    )
    expect(
        all(
            {"min", "max", "avg_min", "avg_max", "input_scalefactor", "input_zeropoint"} <= set(e)
            for e in stats.values()
        ),
        "every entry has min, max, avg_min, avg_max, input_scalefactor and input_zeropoint",
        got={name: list(entry) for name, entry in stats.items()},
    )
    expect_close(
        [stats["layer1_conv"]["min"], stats["layer1_conv"]["max"]],
        [[-1.0, -2.0], [1.0, 4.0]],
        "min and max are lists with one number for each batch",
        within=1e-6,
        given="two batches, with values from -1 to 1 and from -2 to 4",
        hint="the input of the first layer is the batch itself",
    )
    for name, low, high in (("layer2_pool", 0, 3), ("layer3_conv", 0, 3), ("layer6_fc", 0, 5), ("layer8_fc", 0, 9)):
        expect_close(
            [stats[name]["min"], stats[name]["max"]],
            [[low] * 2, [high] * 2],
            "what is recorded for a layer is its input: what the layers before it give, after ReLU",
            within=1e-5,
            given=f"{name}, weights 0, biases of the layer with weights before it from {-high + 1} to {high}",
            hint="record first, then run the layer, then apply ReLU where RELU_AFTER says so",
        )
    expect_close(
        [stats["output"]["min"], stats["output"]["max"]],
        [[-10.0] * 2, [11.0] * 2],
        "the output of the last layer is recorded as it is, without ReLU",
        within=1e-5,
        given="weights 0, biases of layer8_fc from -10 to 11",
        hint="no ReLU follows layer8_fc",
    )
    expect_close(
        [stats["layer1_conv"]["avg_min"], stats["layer1_conv"]["avg_max"]],
        [-1.5, 2.5],
        "avg_min and avg_max are the means of the batches' minima and maxima",
        within=1e-6,
        given="minima -1 and -2, maxima 1 and 4",
        hint="not the least minimum and the largest maximum",
    )
    expect_close(
        [stats["layer1_conv"]["input_scalefactor"], stats["layer1_conv"]["input_zeropoint"]],
        [4 / 255, 96],
        "input_scalefactor and input_zeropoint are the 8-bit grid for [avg_min, avg_max]",
        within=1e-6,
        given="avg_min -1.5, avg_max 2.5",
        hint="scale_and_zeropoint(avg_min, avg_max)",
    )
    ### BEGIN HIDDEN TESTS
    g = generator()
    torch.manual_seed(int(torch.randint(2**31, (1,), generator=g)))
    network = ClassyClassifier().eval()
    weights = {key: 2 * value.detach() for key, value in network.state_dict().items()}
    network.load_state_dict(weights)

    def inputs(x):
        """Name -> input of each layer, and the output."""
        found = {}
        with torch.no_grad():
            for layer_name, layer in network.named_children():
                found[layer_name] = x
                x = layer(x)
                x = x.relu() if layer_name in ("layer1_conv", "layer3_conv", "layer6_fc", "layer7_fc") else x
        return found | {"output": x}

    examples = [
        torch.randn(count, 3, 32, 32, generator=g) * size for count, size in ((1, 3.0), (4, 0.5), (2, 1.0), (5, 1.0))
    ]
    for chosen in (examples[:1], examples):
        stats, unchanged = calibrated(weights, chosen)
        seen = [inputs(x) for x in chosen]
        for name in (*LAYERS, "output"):
            entry = stats[name]
            lows, highs = [float(s[name].min()) for s in seen], [float(s[name].max()) for s in seen]
            # float32 sums of up to 800 products, in another order perhaps: 800 * 2^-24 of the sum's size at most
            near = 1e-4 * max(abs(v) for v in lows + highs)
            expect(
                all(isinstance(v, float) for key in ("min", "max") for v in entry[key])
                and isinstance(entry["avg_min"], float)
                and isinstance(entry["input_scalefactor"], float),
                "the numbers are Python floats",
                given=name,
                got={key: str(value)[:60] for key, value in entry.items()},
                hint="float(x.min()) or x.min().item()",
            )
            expect_close(
                [entry["min"], entry["max"]],
                [lows, highs],
                "what is recorded for a layer is its input: what the layers before it give, after ReLU"
                if name != "output"
                else "the output of the last layer is recorded as it is, without ReLU",
                within=near,
                given=f"{name}, {len(chosen)} batches",
                hint="record first, then run the layer, then apply ReLU where RELU_AFTER says so",
            )
            expect_close(
                [entry["avg_min"], entry["avg_max"]],
                [sum(lows) / len(lows), sum(highs) / len(highs)],
                "avg_min and avg_max are the means of the batches' minima and maxima",
                within=near,
                given=f"{name}, batches of {[len(x) for x in chosen]} images",
                hint="every batch counts the same, however many images it has",
            )
            grid = scale_and_zeropoint(entry["avg_min"], entry["avg_max"])
            expect_close(
                [entry["input_scalefactor"], entry["input_zeropoint"]],
                grid,
                "input_scalefactor and input_zeropoint are the 8-bit grid for [avg_min, avg_max]",
                within=1e-6 * grid[0],
                given=f"{name}, [{entry['avg_min']:.6g}, {entry['avg_max']:.6g}]",
                hint="scale_and_zeropoint(avg_min, avg_max)",
            )
        expect(unchanged, "the model is not changed", hint="run it under torch.no_grad() and change no parameter")
    again, _ = calibrated(weights, examples, examples[1:3])
    expect_equal(
        [len(again[name]["max"]) for name in again],
        [2] * 9,
        "a second call of calibrate starts anew",
        given="calibrate with four batches, then with two",
        hint="make the lists inside calibrate",
    )
    expect_raises(
        ValueError,
        lambda: calibrated(weights, []),
        "calibration without any batch is refused",
        given="an empty list",
        hint="raise ValueError",
    )
    for value in (math.nan, math.inf, -math.inf):
        broken = examples[1].clone()
        broken[0, 0, 5, 5] = value
        expect_raises(
            ValueError,
            lambda broken=broken: calibrated(weights, [examples[0], broken]),
            "a batch with NaN or infinity is refused",
            given=f"one {value} in the second batch",
            hint="x.isfinite().all()",
        )
    ### END HIDDEN TESTS


# %% nbgrader={"grade_id": "check_run_calibrated_quantized", "grade": true, "points": 5}
@probe
def run_on_grids(weights, x, *lists_of_grids):
    network = ClassyClassifier().eval()
    network.load_state_dict(weights)
    quantizer = QuantizerForClassyClassifier(network)
    results = []
    for grids in lists_of_grids:
        quantizer.calibration_input_stats = {
            name: {"input_scalefactor": scalefactor, "input_zeropoint": zeropoint}
            for name, (scalefactor, zeropoint) in grids.items()
        }
        results.append(quantizer.run_calibrated_quantized(x))
    return results


with check("quantizer_for_classy_classifier"):
    # again weights 0: the logits are the biases of layer8_fc, as well as the output's grid can say them
    network = ClassyClassifier()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.layer8_fc.bias.copy_(torch.linspace(-4.5, 4.5, 10))
    weights = {key: value.detach() for key, value in network.state_dict().items()}
    grids = dict.fromkeys(LAYERS, (1 / 16, 0)) | {"layer1_conv": (1 / 128, 128), "output": (1 / 16, 64)}
    x = torch.zeros(2, 3, 32, 32)
    logits = run_on_grids(weights, x, grids)[0]
    expect(
        isinstance(logits, torch.Tensor) and logits.shape == (2, 10) and logits.dtype == torch.float32,
        "the result is a float32 tensor with ten logits for each image",
        got=f"{getattr(logits, 'dtype', type(logits).__name__)}, shape {tuple(getattr(logits, 'shape', ()))}",
        hint="go through all eight layers, flattening included",
    )
    # bias: rounded to units of 1/16; -4.5 lies below the smallest value of the grid, (0 - 64) / 16 = -4
    expected = torch.tensor([-4, -3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 4.5])
    expect_close(
        logits[0],
        expected,
        "the codes of layer8_fc stand on the grid of the output, and are dequantized with it",
        within=1e-5,
        given="weights 0, biases of layer8_fc -4.5, -3.5, ..., 4.5, output grid 1/16 with zero point 64",
        hint="scalefactor and zero point of the entry named output, for run_quantized_layer and for dequantize",
    )
    # and a random network: near to the float network, when the grids fit
    torch.manual_seed(4)
    network = ClassyClassifier().eval()
    weights = {key: value.detach() for key, value in network.state_dict().items()}
    x = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(4)) * 2 - 1
    ends = {"layer1_conv": (-1, 1), "layer3_conv": (0, 1.2), "layer6_fc": (0, 0.7)}
    ends |= {"layer7_fc": (0, 0.5), "layer8_fc": (0, 0.3), "output": (-0.4, 0.4)}
    grids = {name: scale_and_zeropoint(*ends.get(name, (0, 1))) for name in (*LAYERS, "output")}
    with torch.no_grad():
        float_logits = network(x)
    expect_close(
        run_on_grids(weights, x, grids)[0],
        float_logits,
        "with grids that fit, the result is close to that of the float network",
        within=0.03,  # ten steps of the output's grid
        given="a network with random weights",
        hint="was a layer left out, or given the grid of another one? Is there a ReLU after layers 1, 3, 6 and 7?",
    )
    astray = dict.fromkeys(("layer2_pool", "layer4_pool", "layer5_flat"), (0.37, 11))
    expect_close(
        run_on_grids(weights, x, grids | astray)[0],
        float_logits,
        "every layer's codes stand on the grid of the next layer with weights",
        within=0.03,  # as above
        given="the same network; the entries of pooling and flattening hold a grid that fits nothing",
        hint="pooling and flattening change no grid: their own entries are not needed here",
    )
    # half of layer7_fc's outputs are -1 and half are 1, and layer8_fc takes the mean of what ReLU leaves
    network = ClassyClassifier()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.layer7_fc.bias.copy_(torch.tensor([-1.0, 1.0]).repeat(42))
        network.layer8_fc.weight.fill_(1 / 84)
    weights = {key: value.detach() for key, value in network.state_dict().items()}
    grids = dict.fromkeys(LAYERS, (1 / 16, 0)) | {"layer8_fc": (1 / 64, 128), "output": (1 / 64, 128)}
    expect_close(
        run_on_grids(weights, x, grids)[0],
        torch.full((3, 10), 0.5),
        "ReLU on codes is max(q, zeropoint)",
        within=1 / 64,
        given="layer7_fc gives -1 and 1 in equal parts, layer8_fc takes the mean; zero point 128 between them",
        hint="the zero point is that of the grid on which the layer's output stands",
    )
    ### BEGIN HIDDEN TESTS
    g = generator()
    relu_after = ("layer1_conv", "layer3_conv", "layer6_fc", "layer7_fc")
    weighted = ("layer1_conv", "layer3_conv", "layer6_fc", "layer7_fc", "layer8_fc")

    def by_hand(network, x, grids):
        """The codes of the logits, layer after layer."""
        q = torch.clamp(torch.round(x.double() / grids["layer1_conv"][0]) + grids["layer1_conv"][1], 0, 255).float()
        for layer_name, layer in network.named_children():
            if layer_name not in weighted:
                q = layer(q)
                continue
            following = [*weighted, "output"][weighted.index(layer_name) + 1]
            q = QuantizedLayer(layer).run_quantized_layer(q, *grids[layer_name], *grids[following])
            if layer_name in relu_after:
                q = torch.maximum(q, torch.tensor(float(grids[following][1])))
        return q

    torch.manual_seed(int(torch.randint(2**31, (1,), generator=g)))
    network = ClassyClassifier().eval()
    weights = {key: value.detach() * 3 for key, value in network.state_dict().items()}
    network.load_state_dict(weights)
    x = torch.rand(3, 3, 32, 32, generator=g) * 2 - 1
    activations, found = x, {}
    with torch.no_grad():
        for name, layer in network.named_children():
            found[name] = activations
            activations = layer(activations)
            activations = activations.relu() if name in relu_after else activations
    found["output"] = activations
    fitting = {n: (min(float(v.min()), 0.0), max(float(v.max()), 0.0)) for n, v in found.items()}
    cases = {
        "ranges that fit": {n: scale_and_zeropoint(*fitting[n]) for n in (*weighted, "output")},
        "narrow ranges, so that much saturates": {
            n: scale_and_zeropoint(0.4 * fitting[n][0], 0.4 * fitting[n][1]) for n in (*weighted, "output")
        },
        "ranges on both sides of 0, so that no zero point is 0": {
            n: scale_and_zeropoint(-0.3 * fitting[n][1], 0.9 * fitting[n][1]) for n in (*weighted, "output")
        },
    }
    both = run_on_grids(weights, torch.cat([x[:1], 3 * x[1:2]]), cases["ranges that fit"] | astray)[0]
    expect_close(
        both[:1],
        run_on_grids(weights, x[:1], cases["ranges that fit"] | astray)[0],
        "an image is quantized on the grid of layer1_conv, whatever its own range or that of its neighbours",
        within=1e-5,
        given="one image alone, and beside another one that is three times as bright",
        hint="calibration has chosen the grid beforehand",
    )
    for what, grids in cases.items():
        scalefactor, zeropoint = grids["layer1_conv"]
        # a third of a step from the grid at most, so that nobody's rounding is put to the test
        codes = torch.round(x.double() / scalefactor)
        image = (scalefactor * (codes + torch.rand(x.shape, generator=g).double() * 0.6 - 0.3)).float()
        before = image.clone()
        got = run_on_grids(weights, image, grids | astray)[0]
        expect_equal(image, before, "x itself is not changed", hint="avoid methods that end in _")
        output_scale, output_zero = grids["output"]
        rules = {
            "ranges that fit": "every layer's codes stand on the grid of the next layer with weights",
            "narrow ranges, so that much saturates": "values outside a range saturate, the image's too",
            "ranges on both sides of 0, so that no zero point is 0": "ReLU on codes is max(q, zeropoint)",
        }
        expect_close(
            got,
            output_scale * (by_hand(network, image, grids).double() - output_zero),
            rules[what],
            within=1e-5 * output_scale * 255,
            given=what,
            hint="follow the table above the exercise line by line",
        )
    one, two = (cases[what] for what in list(cases)[:2])
    got = run_on_grids(weights, x[:1], one | astray, two | astray)
    expect_close(
        got[1],
        run_on_grids(weights, x[:1], two | astray)[0],
        "the grids are read from calibration_input_stats at every call",
        within=1e-5,
        given="other grids written there between two calls",
        hint="read scalefactors and zero points inside run_calibrated_quantized",
    )
    ### END HIDDEN TESTS

# %% [markdown]
# ## Explore: the network in 8 bits
#
# Calibrate with ten batches, then compare: ten logits of one image, and the accuracy on **all** test images.

# %% tags=["explore"]
quantizer = QuantizerForClassyClassifier(model)
quantizer.calibrate(batches[:10])
print("a layer's input    avg_min  avg_max  scalefactor  zeropoint")
for name, entry in quantizer.calibration_input_stats.items():
    print(
        f"{name:16s}{entry['avg_min']:10.3f}{entry['avg_max']:9.3f}"
        f"{entry['input_scalefactor']:13.5f}{entry['input_zeropoint']:11d}"
    )
with torch.no_grad():
    print("\nfloat  ", [round(v, 2) for v in model(images[:1])[0].tolist()])
print("8 bits ", [round(v, 2) for v in quantizer.run_calibrated_quantized(images[:1])[0].tolist()])

everything = normalize(test_set.images), test_set.labels
float_accuracy = accuracy(model, *everything, batch_size=50)  # small batches stay in the processor's cache
quantized_accuracy = accuracy(quantizer.run_calibrated_quantized, *everything, batch_size=50)
print(f"\n{test_set.name}, {len(everything[0]):,} test images:")
print(f"float {float_accuracy:.4f}   on 8-bit codes {quantized_accuracy:.4f}")

# %% [markdown]
# Eight bits cost this network next to nothing. Does the method matter then? Write other ranges into your quantizer's
# `calibration_input_stats` and see. (In the next cells 1,000 test images, for speed: one standard error of an accuracy
# of 0.8 or 0.9 is about 0.01. But all rows use the *same* images, so differences are more reliable than that.)


# %% tags=["explore"]
def with_ranges(quantizer, ends):
    """Writes ranges over those that calibrate found."""
    for name, (low, high) in ends.items():
        entry = quantizer.calibration_input_stats[name]
        entry["input_scalefactor"], entry["input_zeropoint"] = scale_and_zeropoint(low, high)


reference = accuracy(model, images, labels)
print(f"{test_set.name}, {len(images):,} test images")
print(f"float            {reference:.4f}")
for way in ("least squares", "entropy"):
    with_ranges(quantizer, {name: choices(name, 50, 8)[way] for name in WEIGHTED})
    print(f"{way:16s} {accuracy(quantizer.run_calibrated_quantized, images, labels):.4f}")

# %% [markdown]
# At 8 bits there is room for everything but a bad mistake, and entropy with the spike is one. With fewer bits the
# steps are coarse and the choice of range counts. The next cell compares all methods at 8 to 3 bits for the
# *activations*; weights have 8 bits throughout. To be quicker it *simulates*: weights and each layer's input go to
# their grid and back, and the layer itself runs in float. (The 8-bit column shows how near that is to your
# quantizer.)


# %% tags=["explore"]
import copy

simulated = copy.deepcopy(model)
with torch.no_grad():
    for name in WEIGHTED:
        weight = dict(simulated.named_children())[name].weight
        grid = scale_and_zeropoint(float(weight.min()), float(weight.max()))
        weight.copy_(dequantize(quantize(weight, *grid), *grid))


def correct_with(ends, num_bits, images, labels):
    """Which images the network gets right if its weights have 8 bits and its layers' inputs go through a grid."""

    def on_grid(low, high):
        grid = scale_and_zeropoint(low, high, num_bits)
        return lambda _, inputs: dequantize(quantize(inputs[0], *grid, num_bits), *grid)

    inside = dict(simulated.named_children())
    handles = [inside[name].register_forward_pre_hook(on_grid(*ends[name])) for name in WEIGHTED]
    try:
        with torch.no_grad():
            return torch.cat([simulated(x).argmax(1) for x in images.split(50)]) == labels
    finally:
        for handle in handles:
            handle.remove()


def accuracy_with(ends, num_bits):
    return float(correct_with(ends, num_bits, images, labels).float().mean())


ways = list(choices("layer1_conv", 50, 8))
bits = (8, 5, 4, 3)
table = {}
for n in bits:
    for way in ways:
        ends = {name: choices(name, 50, n)[way] for name in WEIGHTED}
        table.setdefault(way, []).append(accuracy_with(ends, n))
    averages = {name: observed(name, 50).average_range() for name in WEIGHTED}
    table.setdefault("mean of min and max", []).append(accuracy_with(averages, n))

print("bits                 " + "".join(f"{n:8d}" for n in bits))
for way, row in table.items():
    print(f"{way:21s}" + "".join(f"{a:8.4f}" for a in row))

figure, both = plt.subplots(1, 2, figsize=(10, 4))
for axes in both:
    styles = zip(table.items(), ("blue", "green", "black", "vermillion", "orange", "purple"), "osD^vP", strict=True)
    for (way, row), colour, marker in styles:
        axes.plot(bits, row, marker=marker, color=COLOURS[colour], label=way)
    axes.axhline(reference, color="0.5", linestyle="--", linewidth=1, label="float")
    axes.set_xticks(bits)
    axes.set_xlabel("bits per activation")
both[0].set_ylim(0, 1)
both[0].set_ylabel("correct (share)")
both[0].set_title(f"{test_set.name}, {len(images):,} test images, 8-bit weights")
both[1].set_ylim(reference - 0.15, reference + 0.02)
both[1].set_title("the upper end of the same")
both[1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# Read the picture from the right, where there is room, to the left, where there is none. Which methods hold up best at
# 3 bits? Which order do they have at 8?
#
# **How many images are enough?** More images mean more outliers. The picture follows four choices for one layer as
# batches come in. The largest value can only grow, in jumps, whenever a stranger image comes. Do the others settle, and
# after how many batches?

# %% tags=["explore"]
name = "layer7_fc"
numbers = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50)
curves = {"largest of all": [], "mean of the batches' largest": [], "percentile 99.9": [], "least squares, 4 bits": []}
for n in numbers:
    seen = observed(name, n)
    least_squares = mse_range(seen.histogram.pair(), 4)[1]
    upper = (seen.histogram.max, seen.average_range()[1], percentiles(name, n)[1], least_squares)
    for curve, end in zip(curves.values(), upper, strict=True):
        curve.append(end)
figure, axes = plt.subplots(figsize=(7.2, 3.6))
for (label, curve), colour, marker in zip(
    curves.items(), ("blue", "vermillion", "green", "black"), "osD^", strict=True
):
    axes.plot(numbers, curve, marker=marker, color=COLOURS[colour], label=label)
axes.set_xscale("log")
axes.set_xticks(numbers, [str(n) for n in numbers])
axes.minorticks_off()
axes.set_ylim(0)
axes.set_xlabel("batches of 50 images (log)")
axes.set_ylabel("upper end of the range")
axes.set_title(f"input of {name}")
axes.legend(loc="lower right")
plt.show()

# %% [markdown]
# ## What the field reports
#
# **Purdue.** The assignment reports 0.687 for its float `ClassyClassifier` and 0.689 for the pseudo-quantized one
# (whose codes are held in floats, as yours), on the 10,000 test images of CIFAR-10. Your figures are above; here they
# are side by side. The networks were trained differently, so the levels differ; compare the *change*. A change of 0.002
# means a net 20 images of 10,000: more than those fell on the other side of a border, in both directions. Nobody should
# read it as "quantization improves accuracy".

# %% tags=["explore"]
print("                                   float    8 bits   change")
print(f"Purdue, CIFAR-10, 10,000 images    0.6870   0.6890   {0.689 - 0.687:+.4f}")
change = quantized_accuracy - float_accuracy
where = f"yours, {test_set.name}, {len(everything[0]):,} images"
print(f"{where:33s}  {float_accuracy:.4f}   {quantized_accuracy:.4f}   {change:+.4f}")

# %% [markdown]
# **TensorRT.** The lecture shows NVIDIA's table: ImageNet accuracy with entropy calibration on 5, 10 and 50 batches.
# Below are its top-1 figures, with the differences calculated again (some of the printed ones are off by 0.01, because
# they were taken before rounding), and yours with three methods, on all test images. The range behind each of your
# differences is one standard error of that difference: if $d$ of $N$ images were right before and wrong after, or the
# other way round, it is about $\sqrt{d}/N$.

# %% tags=["explore"]
tensorrt = {
    "ResNet-50": (73.23, 73.03, 73.02, 73.10),
    "ResNet-101": (74.39, 74.52, 74.38, 74.40),
    "ResNet-152": (74.78, 74.62, 74.66, 74.70),
    "VGG-19": (68.41, 68.42, 68.42, 68.38),
    "GoogLeNet": (68.57, 68.21, 68.10, 68.12),
    "AlexNet": (57.08, 57.00, 57.00, 57.05),
}
head = f"{'top-1 accuracy (%)':26s}   float   5 batches              10 batches             50 batches"


def show_row(label, base, *others):
    print(f"{label:26s}{base:8.2f}" + "".join(f"{a:8.2f} ({a - base:+.2f})       " for a in others))


print(head)
for label, row in tensorrt.items():
    show_row(label, *row)
print()
methods = ("mean of min and max", "entropy", "entropy, no spike")
with torch.no_grad():
    right = torch.cat([model(x).argmax(1) for x in everything[0].split(50)]) == everything[1]
rows = {method: [] for method in methods}
for n in (5, 10, 50):
    for method in methods:
        ends = {
            name: observed(name, n).average_range() if method == methods[0] else choices(name, n, 8)[method]
            for name in WEIGHTED
        }
        rows[method].append(correct_with(ends, 8, *everything))
print(f"{test_set.name}, {len(right):,} test images; ± one standard error of the difference")
for method, row in rows.items():
    base = 100 * float(right.float().mean())
    print(f"{method:26s}{base:8.2f}", end="")
    for now in row:
        error = 100 * math.sqrt(int((now != right).sum())) / len(right)
        share = 100 * float(now.float().mean())
        print(f"{share:8.2f} ({share - base:+.2f} ± {error:.2f})", end="")
    print()

# %% [markdown]
# TensorRT's largest loss is GoogLeNet's, under half a per cent, and more batches help no network reliably: 5 batches
# are about as good as 50. (A batch of yours has 50 images; the lecture does not say how many one of NVIDIA's had.)
# Yours should show the same for two of the methods: differences of a few standard errors at most, in either direction.
# Plain entropy on your network is another matter. Why did NVIDIA not see this? We can only guess: their published table
# shows results of a product, not of the pseudocode in the talk, and networks differ in how many zeros ReLU leaves. (At
# the start of this lab you printed the share of zeros for each of your layers.)
#
# **onnxruntime.** "Entropy calibration" is not one method. onnxruntime's version looks at signed values, spreads a
# level's count over *all* its bins, whole counts only, and adds a little to empty bins; by default it uses 128 bins
# for its 128 levels, which leaves it one candidate: the whole range. The course has a copy of its rule, tested to
# give the same ranges as onnxruntime 1.31 itself. The same activations, two programs:

# %% tags=["explore"]
from course_utils.quantization import onnxruntime_entropy_range

print("upper end of the range   TensorRT's, our bins   onnxruntime, 2048 bins   onnxruntime, 128 bins     largest")
for name in WEIGHTED:
    histogram = observed(name, 50).histogram
    middles = (histogram.edges[:-1] + histogram.edges[1:]) / 2
    size = max(-histogram.min, histogram.max)
    theirs = []
    for bins in (2048, 128):
        counts, edges = np.histogram(middles, bins, range=(-size, size), weights=histogram.counts)
        theirs.append(onnxruntime_entropy_range(counts, edges, histogram.min, histogram.max)[1])
    own = choices(name, 50, 8)["entropy"][1]
    print(f"input of {name:16s}{own:17.3f}{theirs[0]:22.3f}{theirs[1]:24.3f}{histogram.max:16.3f}")

# %% [markdown]
# ## Recap
#
# - Activations have no range until data flows. Calibration runs the float network on a few hundred typical inputs and
#   freezes a grid for the input of each layer.
# - A wide range rounds coarsely, a narrow one cuts. The best range depends on the number of bits: more bits, wider.
# - Min and max follow the outliers. Percentiles ignore a fixed share. Least squares weighs both errors. Entropy
#   compares shapes, and is misled by the spike of zeros behind a ReLU unless that is taken out.
# - At 8 bits all sensible choices are about equally good, and a few batches are enough. With few bits the choice
#   decides.
# - ReLU on codes is $\max(q, Z)$, pooling on codes is pooling, and each layer speaks the grid of the next.
#
# Three questions to finish. A few sentences each, with numbers where you can.

# %% [markdown]
# ### Question 1: averaging minima and maxima
#
# `calibrate` averages the batches' maxima. What happens to `avg_max` if the same images are cut into batches of 500
# instead of 50, and into batches of 1? Which of the two errors, rounding or cutting, grows in each case? Name one
# situation in which the average is worse than the largest value of all.

# %% [markdown] nbgrader={"grade_id": "why_average_of_batches", "grade": true, "solution": true, "points": 2}
# **Model answer.** The maximum of a larger batch is at least as large as that of each part of it, so with batches of
# 500 `avg_max` grows towards the largest value of all: less is cut, steps are coarser, rounding error grows. With
# batches of 1 it shrinks to the mean of the single images' maxima: about half of all images then have activations
# beyond the range, steps are finer, cutting error grows. So the batch size is a hidden parameter of the method. The
# average is worse where the large values carry the decision or one batch is not like the others: if, say, one batch
# of ten shows a rare class that alone excites a neuron strongly, its maximum is divided by ten and all images of that
# class are cut. Also with many bits, where rounding costs nothing and only cutting hurts.
#
# *Marking: 1 point for the direction in both cases with the right error. 1 point for a valid situation (rare inputs,
# sorted batches, many bits).*

# %% [markdown]
# ### Question 2: the spike
#
# Explain to a colleague, in three sentences and without formulas, why TensorRT's rule chooses a far too low threshold
# for the input of `layer7_fc`. Then say why setting the first bin to the height of the second helps, and why the
# exact zeros need no protection in the first place.

# %% [markdown] nbgrader={"grade_id": "why_entropy_fails", "grade": true, "solution": true, "points": 2}
# **Model answer.** After a ReLU most values are exactly 0 and fall into the first bin, which is far higher than its
# neighbours. If the range is wide, several bins share a level and the candidate distribution spreads the spike evenly
# over them, which looks like a large loss of information; so the rule prefers a range so narrow that the first bin
# has a level of its own, whatever it cuts. With the first bin as high as the second there is no spike to be spread,
# and the comparison is about the rest of the distribution, where the choice matters. The zeros need no protection
# because 0 is on the grid by construction (the zero point): they have no error with any range. The rule cannot know,
# since a histogram does not say that the values in the first bin all sit at the same place.
#
# *Marking: 1 point for "even spreading within a level smears the spike". 1 point for "zero is exact on every grid"
# (or: for squared error the spike costs nothing).*

# %% [markdown]
# ### Question 3: ReLU on codes
#
# The assignment applies `F.relu` to codes between 0 and 255 and still gets the right accuracy. Which property of its
# calibration saves it? Give an example of an activation function, or of a place in a network, where the same line
# would give wrong results, and say which results.

# %% [markdown] nbgrader={"grade_id": "why_relu_on_codes", "grade": true, "solution": true, "points": 2}
# **Model answer.** The grid after the layer is that of the next layer's input, which was recorded *after* ReLU. Its
# minimum is 0, so the zero point is 0, and code 0 means 0.0. `run_quantized_layer` saturates everything below 0 at
# code 0, so ReLU has happened already and `F.relu` changes nothing. It fails wherever the zero point is not 0: if the
# range was recorded before ReLU (say $[-4, 6]$, zero point 102), if the grid is shared with a branch that has
# negative values (a residual connection), or after a leaky ReLU or GELU whose output goes below 0. Then codes between
# 0 and the zero point, which mean negative values, pass unchanged: the network computes without ReLU.
#
# *Marking: 1 point for "zero point 0, because the input was recorded after ReLU". 1 point for an example with a zero
# point other than 0 and the consequence (negative values survive).*
