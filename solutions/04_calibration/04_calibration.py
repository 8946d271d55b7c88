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
# <details><summary>Sources</summary>
#
# "The assignment" is the one on static quantization in Yung-Hsiang Lu's course *Computer Vision for Embedded Systems*
# (Purdue). "The lecture" is one on methods of quantization that quotes slides of NVIDIA; they come from a talk by
# Szymon Migacz, *8-bit Inference with TensorRT*, GTC 2017, session 7310. "ACIQ" is a paper by Ron Banner and
# colleagues, *ACIQ: Analytical Clipping for Integer Quantization of Neural Networks* (2018).
#
# </details>

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


def network_of(weights, training=True):
    """A ClassyClassifier for the checks, in training or eval mode (one layer in the other), with gradients, hooks."""
    network = ClassyClassifier().train(training)
    network.layer6_fc.train(not training)
    network.load_state_dict(weights)
    for number, parameter in enumerate(network.parameters()):
        parameter.requires_grad_(number % 3 > 0).grad = torch.ones_like(parameter)
    for layer in network.children():
        layer.register_forward_pre_hook(lambda *_: None)
        layer.register_forward_hook(lambda *_: None)
    return network


# %% [markdown]
# ## Idea
#
# To quantize a tensor you need its range. For weights you look at them. For **activations**, the numbers that flow
# between the layers, there is nothing to look at until an image arrives; and a device that must find the smallest and
# largest activation of each layer of each image wastes the time that 8-bit arithmetic was meant to save. So the range
# is chosen *beforehand*: run the float network on typical images, watch what goes into each layer, choose a range for
# each, and freeze it. This is **calibration**. It needs images but no labels, and no training.
#
# Load the network and 50 batches of 50 training images. The cell says which data it found. It records the input of
# each layer with weights; an *observer* keeps the minimum and maximum of each batch and a histogram of them all.

# %% tags=["explore"]
import functools

from course_utils.data import classification_data
from course_utils.networks import accuracy, load_trained, normalize
from course_utils.quantization import Observer

test_set, train_set = classification_data(train=False), classification_data(train=True, count=2500)
print(test_set.note)
model = load_trained(f"classyclassifier-{test_set.name}")
batches = normalize(train_set.images).split(50)
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
# column). Now look at one of them. The scale on the left is logarithmic: the small bars at the far end stand for a few
# values among hundreds of thousands. The bars under the histogram are three ranges that one might choose.

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
# The largest value alone decides how coarse the grid is for all others. Every range $[a, b]$ has two errors, and they
# pull in opposite directions:
#
# $$
# \text{error} \;=\; \underbrace{\text{rounding of what lies inside}}_{\approx\; \Delta^2/12,\quad
# \Delta = (b-a)/(2^n-1)} \;+\; \underbrace{\text{cutting of what lies outside}}_{(x-b)^2 \text{ for } x > b}
# $$
#
# For a Laplace distribution of scale $s$
# around 0 and the range $[-\alpha, \alpha]$ cut into $2^n$ cells ACIQ gets
#
# $$
# E(\alpha) = \frac{\alpha^2}{3 \cdot 4^n} + 2 s^2 e^{-\alpha/s}
# \qquad\text{and for a Gaussian}\qquad
# \frac{\alpha^2}{3 \cdot 4^n} + (\sigma^2 + \alpha^2)\left(1 - \operatorname{erf}\tfrac{\alpha}{\sigma\sqrt2}\right)
# - \sqrt{\tfrac{2}{\pi}}\,\alpha\sigma\, e^{-\alpha^2 / 2\sigma^2} .
# $$
#
# The first term is the rounding, the rest is the cutting. The picture draws the two for Laplace values, their sum, and
# points that were *measured* on random numbers. Where is the sum least?


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
# <details><summary>For the curious: why some measured points lie above the curve</summary>
#
# With 3 bits the measured points lie above the curve, for two reasons. Far out the cells are wide, and the values no
# longer spread evenly within a cell, which $\Delta^2/12$ takes for granted. And a value beyond the threshold is not
# sent to the threshold, as the formula has it, but to the middle of the last cell, half a cell further in. With 5 bits
# the cells are narrow, and neither matters.
#
# </details>
#
# The table puts the minimum of these two formulas beside the authors' figures: they agree to 0.01. More bits move the
# best threshold outwards: when the steps are fine anyway, cutting costs more than it saves. Real activations are
# neither Laplace nor Gaussian, so we choose from data, in four ways.

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
# network is broken, and no range helps it. (Sorting puts NaN at the end, where it looks like a large outlier.)
#
# <details><summary>For the curious: what others do with NaN</summary>
#
# The calibration of onnxruntime 1.31 drops NaN silently, the histogram observer of torch 2.15 raises an error.
#
# </details>
#
#
# Sort and interpolate yourself: `torch.quantile`, `numpy.quantile`, `numpy.percentile` and their relatives are refused
# in grading.


# %% nbgrader={"grade_id": "percentile_range", "solution": true}
def percentile_range(values, p):
    """The percentiles 100 - p and p of some values, with linear interpolation between neighbours in rank.

    Args:
        values: tensor of any shape and float dtype, the largest less than 1.7e308 above the smallest. It is not
            changed.
        p: number from 50 to 100, both included.

    Returns:
        A tuple (low, high) of Python floats in the unit of the values, low <= high but for rounding;
            calculated in float64.

    Raises:
        ValueError: if p is not in 50 .. 100 (NaN is not); if there are no values, or a NaN or infinite one among them.
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
    place = "a percentile p stands at position (n - 1) p / 100 among the sorted values, with linear interpolation"
    every = "every p from 50 to 100, and every number of values, gives a range"
    shape = "a tensor of any shape and float dtype is taken as one list of values"
    exact = "positions and values are calculated in float64"
    large = "finite values are taken, however large"
    hints = {
        place: "is the position (n - 1) times the share? How far do you go from the left neighbour to the right one?",
        every: "which neighbour does the last position have?",
        shape: "which of your steps works for one dimension, or one dtype, only?",
        exact: "float32 has 24 bits: for the values, and for the position",
        large: "each value may be finite while their sum is not: of what do you ask whether it is finite?",
    }

    def try_percentile(rule, facts, values, p, low, high, within=0.0):
        """One case against its range; then the values must be what they were."""
        before = state_of(values)
        result = expect_returns(lambda: percentile_range(values, p), rule, given=facts, hint=hints[rule])
        pair, hint = "the result is a tuple (low, high) of two Python floats", "which of your steps leaves a tensor?"
        expect(isinstance(result, tuple) and len(result) == 2, pair, given=facts, got=result, hint=hint)
        for bound in result:
            expect_type(bound, float, pair, given=facts, hint=hint)
        expect_close(result, [low, high], rule, within=within, given=facts, hint=hints[rule])
        hint = "methods that end in _ write into their tensor"
        expect_unchanged(before, state_of(values), "the values are not changed", hint=hint)

    # positions are good to n * 2^-52, so values that lie d apart to n * 2^-52 * d
    x = torch.tensor([30.0, 10.0, 50.0, 20.0, 40.0])
    try_percentile(place, "values 30, 10, 50, 20, 40 and p = 90", x, 90, 14.0, 46.0, 1e-12)
    try_percentile(place, "values 30, 10, 50, 20, 40 and p = 62.5", x, 62.5, 25.0, 35.0, 1e-12)
    try_percentile(place, "values 0, 4, 0, 0 and p = 75", torch.tensor([0.0, 4.0, 0.0, 0.0]), 75, 0.0, 1.0)
    try_percentile(every, "values 30, 10, 50, 20, 40 and p = 100: minimum and maximum", x, 100, 10.0, 50.0)
    try_percentile(every, "values 30, 10, 50, 20 and p = 50: the median twice", x[:4], 50, 25.0, 25.0, 1e-12)
    try_percentile(every, "one value, 3.25, and p = 99.9", torch.tensor([3.25]), 99.9, 3.25, 3.25)
    try_percentile(every, "values -3, -1 and p = 75", torch.tensor([-1.0, -3.0]), 75, -2.5, -1.5, 1e-12)
    try_percentile(every, "seven times -2 and p = 90", torch.full((7,), -2.0), 90, -2.0, -2.0)
    try_percentile(every, "three times 0 and p = 90", torch.zeros(3), 90, 0.0, 0.0)
    for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64):
        grid = torch.tensor([[30.0, 10.0], [50.0, 20.0], [40.0, 60.0]], dtype=dtype)
        for form, values in (("shape (3, 2)", grid), ("shape (2, 3), a transposed view", grid.T)):
            try_percentile(shape, f"10, 20, ..., 60, {form}, {dtype}, p = 90", values, 90, 15.0, 55.0, 1e-12)
    try_percentile(shape, "a tensor without a dimension, 7.5, p = 80", torch.tensor(7.5), 80, 7.5, 7.5)
    values = torch.arange(5, dtype=torch.float64) + 2.0**30
    try_percentile(
        exact, "float64 values 2^30, 2^30 + 1, ..., 2^30 + 4, p = 90", values, 90, 2**30 + 0.4, 2**30 + 3.6, 1e-6
    )
    values = torch.arange(100_001.0).flip(0)
    try_percentile(exact, "100000, 99999, ..., 0 and p = 99.9373", values, 99.9373, 62.7, 99937.3, 1e-6)
    values = torch.tensor([3e-30, 1e-30, 2e-30], dtype=torch.float64)
    try_percentile(exact, "3e-30, 1e-30, 2e-30 and p = 75", values, 75, 1.5e-30, 2.5e-30, 1e-44)
    values = torch.tensor([49152.0, 65504.0, 57344.0], dtype=torch.float16)
    try_percentile(large, "float16 values 49152, 65504, 57344 and p = 75", values, 75, 53248.0, 61424.0, 1e-7)
    values = torch.tensor([1e308, 1.4e308, 1.2e308], dtype=torch.float64)
    try_percentile(large, "1e308, 1.4e308, 1.2e308 and p = 75", values, 75, 1.1e308, 1.3e308, 1e296)
    values = torch.tensor([3e-300, 1e-300, 2e-300], dtype=torch.float64)
    try_percentile(exact, "3e-300, 1e-300, 2e-300 and p = 75", values, 75, 1.5e-300, 2.5e-300, 1e-314)
    values = torch.arange(5, dtype=torch.float64) * 1e12
    for off in (1e-9, 1e-5, 0.01):
        facts = f"0, 1e12, ..., 4e12 and p = {75 + off!r}, a position just above 3"
        try_percentile(exact, facts, values, 75 + off, 1e12 - off * 4e10, 3e12 + off * 4e10, 0.01)
    g = generator()

    def try_drawn(rule, facts, values, p):
        """A case against NumPy's percentiles; positions are good to n * 2^-52."""
        low, high = np.percentile(values.double().numpy(), [100 - p, p])
        values_size = float(values.double().abs().max())
        try_percentile(
            rule, f"{facts}, p = {p}", values, p, low, high, (1e-12 + values.numel() * 2.0**-50) * values_size
        )

    drawn = torch.randn(3, 4, 5, generator=g).exp() - 2
    for form, values in forms(drawn, (torch.bfloat16, torch.float16, torch.float32, torch.float64), empty=False):
        for p in (50, 50.0001, 60, 91.7, 99.999, 100):
            try_drawn(shape, f"{form}, from {float(values.min()):.6g} to {float(values.max()):.6g}", values, p)
    many = torch.randn(60_013, generator=g, dtype=torch.float64) * 1e6
    try_drawn(every, "60013 values", many, 99.5)
    try_drawn(every, "1009 values", many[:1009], 75)
    values = torch.zeros(2_000_003, dtype=torch.float16).index_fill(0, torch.tensor([1, 1_300_001]), 5.0)
    try_percentile(every, "2000003 values, two of them 5, the others 0, p = 100", values, 100, 0.0, 5.0)
    own, hint = (
        "each call goes by the values as they are then",
        "what is kept between two calls, and how is it known again?",
    )
    for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64):
        values = torch.tensor([3.0, 1.0, 2.0], dtype=dtype)
        for results in reused(percentile_range, [(values, 75), (values + 4, 75), (values, 100)]):
            facts = f"a {dtype} tensor, with other values in it at the next call"
            expect_close(results, [[1.5, 2.5], [5.5, 6.5], [1.0, 3.0]], own, within=1e-12, given=facts, hint=hint)
    broken = "values with NaN, infinite values, and no values are refused with a ValueError"

    def expect_refused(values, p, rule, facts, hint):
        """A ValueError for these."""
        expect_raises(ValueError, lambda: percentile_range(values, p), rule, given=facts, hint=hint)

    hint = "look at the values before you sort, and before any way out: are there any, and are all finite?"
    for bad in ([1.0, math.nan, 2.0], [math.inf, 1.0], [1.0, -math.inf, 2.0], [math.nan], [math.inf, -math.inf], []):
        for p in (50, 99, 100):
            expect_refused(torch.tensor(bad), p, broken, f"values {bad}, p = {p}", hint)
    for value in (math.nan, math.inf, -math.inf):
        for dtype in (torch.bfloat16, torch.float16, torch.float64):
            values = torch.tensor([[1.0, 2.0], [3.0, value]], dtype=dtype)
            expect_refused(values, 90, broken, f"{dtype} values {values.tolist()}", hint)
        expect_refused(
            torch.cat([many, torch.tensor([value])]), 99, broken, f"300007 values, and at the end {value}", hint
        )
    for shape_of_none in ((0, 3), (3, 0)):
        expect_refused(torch.zeros(shape_of_none), 99, broken, f"values of shape {shape_of_none}", hint)
    range_of_p = "a p outside 50 .. 100 is refused with a ValueError"
    below, above = math.nextafter(50, 0), math.nextafter(100, 101)
    for p in (49.9, 100.1, below, above, 49, 101, 0, 1, 0.99, -60, -99.9, math.nan, math.inf, -math.inf):
        hint = "both ends of 50 .. 100 belong to it; what lies beyond does not, however near"
        expect_refused(x, p, range_of_p, f"p = {p!r}", hint)
        expect_refused(torch.tensor([7.0]), p, range_of_p, f"a single value, p = {p!r}", hint)
    ### BEGIN HIDDEN TESTS
    for count in (1, 2, 3, 10, 101, 5000):
        for p in (50, 75, 99.9, 100):
            values = torch.randn(count, generator=g).exp() - 2
            facts = f"{count} values from {float(values.min()):.6g} to {float(values.max()):.6g}"
            try_drawn(place if count > 3 else every, facts, values, p)
    values = torch.randn(50, generator=g, dtype=torch.float64) + 3e7
    low, high = np.percentile(values.numpy(), [1, 99])
    try_percentile(exact, "50 float64 values near 3e7, p = 99", values, 99, low, high, 1e-6)
    for bad in ([math.nan], [1.0, 2.0, math.inf], [[1.0, -math.inf]], [[], []]):
        expect_refused(torch.tensor(bad), 50, broken, f"values {bad}", "are there values, and are all finite?")
    for p in (49.999, 100.0001):
        expect_refused(x, p, range_of_p, f"p = {p}", "both ends of 50 .. 100 belong to it; what lies beyond does not")
    ### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 2: least squares
#
# A percentile cuts the same share whether the tail is short or long. Better: try many ranges, and take the one that
# costs least. On millions of values that would be slow, so we try it on a **histogram**:
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
        histogram: (counts, edges), int64 (B,), less than 2^53 together, and float64 (B + 1,), increasing, not always
            equally far apart. Each value counts as its bin's middle. It is not changed.
        num_bits: whole number from 1 to 16, of the grid.

    Returns:
        A tuple (low, high) of Python floats: k/100 of the histogram's range (widened to contain 0) for a k in 1 .. 100.
        Of equally good ones any will do. Calculated in float64, the difference Q(c) - c first, then its square.

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
    least = "the candidate with the least sum of n (Q(c) - c)^2 wins"
    outlier = "an outlier is worth keeping when cutting it costs more than the finer steps save"
    both = "both ends shrink by the same factor k/100, from the outermost edges"
    wide = "the histogram's range is widened to contain 0 first"
    middle = "c is the middle of its bin, wherever its two edges lie"
    last = "every k from 1 to 100 is a candidate, the whole range too"
    every = "every k is tried, with however many bins"
    bins = "every number of bins and every num_bits from 1 to 16 gives a range"
    exact = "all is calculated in float64, with counts as large as they are"
    close = "of two errors that are nearly the same the smaller one wins"
    hints = {
        least: "squares, weighted by the counts; cut bins count, too; does num_bits reach all that needs it?",
        outlier: "the errors may rise and fall again along k; and a bin outside the range has an error, too",
        both: "which of the two ends does your candidate shrink, and by how much?",
        wide: "where does the range begin if all values are above 0, and where does it end if all are below?",
        middle: "bins need not be equally wide: what do two neighbouring edges tell?",
        last: "from which k to which does your loop go?",
        every: "the errors may jump up and down along k: which k do you leave out, and when?",
        bins: "which of your steps needs several bins, or 8 bits?",
        exact: "float32 cannot hold the square of 1e-30; which dtypes have the middles, the grid and the errors?",
        close: "what is rounded or not in float64: c, the grid, counts, shares, squares? How do you compare?",
    }

    def try_mse(rule, facts, counts, edges, num_bits, low, high):
        """One histogram against its range; then it must be what it was."""
        histogram = torch.as_tensor(counts), torch.as_tensor(edges, dtype=torch.float64)
        before, facts = state_of(histogram), f"counts {facts}, {num_bits} bits"
        result = expect_returns(lambda: mse_range(histogram, num_bits), rule, given=facts, hint=hints[rule])
        pair, hint = (
            "the result is a tuple (low, high) of two Python floats",
            "the range itself, not k and not the error",
        )
        expect(isinstance(result, tuple) and len(result) == 2, pair, given=facts, got=result, hint=hint)
        for bound in result:
            expect_type(bound, float, pair, given=facts, hint=hint)
        # the next candidates are a hundredth of the range away
        within = 1e-9 * float(histogram[1].abs().max())
        expect_close(result, [low, high], rule, within=within, given=facts, hint=hints[rule])
        expect_unchanged(before, state_of(histogram), "the histogram is not changed", hint="which line writes into it?")

    ten = list(range(11))
    for rule, facts, counts, edges, num_bits, low, high in (
        (least, "900, 600, ..., 0, 1 on edges 0, 1, ..., 10", [900, 600, 300, 90, 40, 20, 8, 3, 0, 1], ten, 2, 0, 4.4),
        (least, "6, 5, 4, 3, 2, 2, 2, 2, 3, 9 on edges 0, 1, ..., 10", [6, 5, 4, 3, 2, 2, 2, 2, 3, 9], ten, 2, 0, 9.4),
        (
            outlier,
            "50, 30, 15, 4, 0, 0, 0, 0, 0, 1 on the same edges",
            [50, 30, 15, 4, 0, 0, 0, 0, 0, 1],
            ten,
            3,
            0,
            9.1,
        ),
        (both, "1, 200, 3000, 3000, 200, 1 on -3, ..., 3", [1, 200, 3000, 3000, 200, 1], ten[:7], 3, -1.74, 1.74),
        (both, "0, 0, 5, 9, 2, 1, 0, 0 on -3, ..., 5", [0, 0, 5, 9, 2, 1, 0, 0], ten[:9], 3, -1.41, 2.35),
        (wide, "5, 9, 2, 1 on edges 3, 4, 5, 6, 7", [5, 9, 2, 1], ten[3:8], 2, 0, 6.09),
        (wide, "5, 9, 2, 1 on edges -9, -8, -7, -6, -5", [5, 9, 2, 1], [-9, -8, -7, -6, -5], 2, -8.01, 0),
        (
            middle,
            "18, 5, 8, 0, 0, 2 on edges 0, 1, 2, 4, 8, 16, 32",
            [18, 5, 8, 0, 0, 2],
            [0, 1, 2, 4, 8, 16, 32],
            2,
            0,
            24,
        ),
        (last, "1, 2, 3, ..., 9, 9 on edges 0, 1, ..., 10", [1, 2, 3, 4, 5, 6, 7, 8, 9, 9], ten, 16, 0, 10),
        (last, "5, 0 on edges 0, 2, 100", [5, 0], [0, 2, 100], 1, 0, 1),
        (bins, "4 on edges -2, -1: a single bin", [4], [-2, -1], 4, -1.5, 0),
        (bins, "1, 0, ..., 0, 1 on edges 0, 1, ..., 8", [1, 0, 0, 0, 0, 0, 0, 1], ten[:9], 1, 0, 7.52),
        (
            exact,
            "40, 25, 10, 4, 2, 1 on edges 0, 1e-30, ..., 6e-30",
            [40, 25, 10, 4, 2, 1],
            [i * 1e-30 for i in range(7)],
            2,
            0,
            4.44e-30,
        ),
        (
            exact,
            "2^40, 2^39, 2^36, 2^33, 2^30, 7 on edges 0, ..., 6",
            [2**40, 2**39, 2**36, 2**33, 2**30, 7],
            ten[:7],
            2,
            0,
            2.1,
        ),
        (exact, "3 * 2^32, 2^33, 2^32 on edges 0, 1, 2, 3", [3 * 2**32, 2**33, 2**32], ten[:4], 2, 0, 2.25),
        *(
            (
                exact,
                f"40, 25, 10, 4, 2, 1 on edges 0, {u}, ..., 6 * {u}",
                counts,
                [i * u for i in range(7)],
                2,
                0,
                4.44 * u,
            )
            for counts in [[40, 25, 10, 4, 2, 1]]
            for u in (1e-140, 1e9, 1e100, 1e140)
        ),
        (
            outlier,
            "2^52, 0, 0, 1 on edges 0, 1, 2, 3, 10^12: a single value counts, too",
            [2**52, 0, 0, 1],
            [0, 1, 2, 3, 10**12],
            13,
            0,
            5e11,
        ),
        *(
            (every, f"1, 0 on edges 0, {x}, {y}", [1, 0], [0, x, y], num_bits, 0, y * k / 100)
            for x, y, num_bits, k in ((3, 12, 6, 79), (2, 10, 7, 10), (3, 7, 5, 83))
        ),
        # the next best, k = 83 and 99, are worse by 5e-8 and 2e-8 of the error, of which roundings make up 2e-10
        (close, "4527, 2693, 0 on edges 0, 45, 63, 77", [4527, 2693, 0], [0, 45, 63, 77], 16, 0, 70.84),
        (close, "17324, 2839, 0 on edges 0, 47, 64, 73", [17324, 2839, 0], [0, 47, 64, 73], 16, 0, 57.67),
        (
            least,
            "0, 40, 60, 0 on edges 0, 9.5, 10.25, 10.75, 20",
            [0, 40, 60, 0],
            [0, 9.5, 10.25, 10.75, 20],
            1,
            0,
            10.2,
        ),
        (both, "5, 1, 1, 0, 2, 9 on -3, ..., 3", [5, 1, 1, 0, 2, 9], ten[:7], 1, -1.17, 1.17),
        (both, "1, 0, 0, 3, 5, 2 on -3, ..., 3", [1, 0, 0, 3, 5, 2], ten[:7], 1, -0.9, 0.9),
        *(
            (
                every,
                f"(a i^2 + 11 i) mod 101 max(0, 300 - i) // 100 and 1 more in every 50th of 601 bins, a = {a}",
                [(a * i * i + 11 * i) % 101 * max(0, 300 - i) // 100 + (i % 50 == 0) for i in range(601)],
                range(602),
                num_bits,
                0,
                6.01 * k,
            )
            for a, num_bits, k in ((91, 2, 36), (11, 2, 35), (53, 3, 41), (91, 4, 45), (11, 5, 65), (37, 4, 46))
        ),
        *(
            (
                bins,
                "900, 700, ..., 0, 1 on -5, ..., 19",
                [*(900, 700, 420, 260, 130, 70, 33, 20, 11, 6, 3, 2, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1)],
                range(-5, 20),
                num_bits,
                -0.05 * k,
                0.19 * k,
            )
            for num_bits, k in enumerate((17, 47, 100, 95, 95, 92, 92, 98, 97, 97, 97, 100, 98, 99, 98, 100), 1)
        ),
    ):
        edges = [edge - 3 for edge in edges] if rule == both else edges
        try_mse(rule, facts, counts, edges, num_bits, low, high)
    own, hint = (
        "each call goes by the histogram as it is then",
        "what is kept between two calls, and how is it known again?",
    )
    counts, edges = torch.tensor([900, 600, 300, 90, 40, 20, 8, 3, 0, 1]), torch.arange(11, dtype=torch.float64)
    other = torch.tensor([50, 30, 15, 4, 0, 0, 0, 0, 0, 1])
    sets = [((counts, edges), 2), ((counts, edges * 2), 2), ((other, edges), 3)]
    sets += [((counts.flip(0), edges), 2), ((counts, edges**2 / 10), 2)]  # as many values and bins as at first
    for results in reused(mse_range, sets):
        facts = "the same two tensors, with other counts or edges in them at the next call"
        wanted = [[0, 4.4], [0, 8.8], [0, 9.1], [0, 9.3], [0, 3]]
        expect_close(results, wanted, own, within=1e-9, given=facts, hint=hint)
    empty = "a histogram without values is refused with a ValueError"
    for bins_of_it in (1, 8, 601):
        nothing = torch.zeros(bins_of_it, dtype=torch.int64), torch.linspace(0, 1, bins_of_it + 1, dtype=torch.float64)
        facts = f"{bins_of_it} bins, all counts 0"
        expect_raises(
            ValueError, lambda h=nothing: mse_range(h, 8), empty, given=facts, hint="how many values are there?"
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

    for row, bins_of_it in enumerate((1, 24, 200)):
        for place, sign in enumerate(("both", "above", "below", "far", "unequal", "tiny")):
            num_bits = (1, 3, 8)[(row + place) % 3]  # with each number of bins, and with each sign
            values = torch.randn(400, generator=g).exp()
            values = {"both": values - 2, "below": -values, "far": values + 3, "tiny": values * 1e-31}.get(sign, values)
            low, high = float(values.min()), float(values.max())
            if sign != "far":
                low, high = min(low, 0.0), max(high, 0.0)
            edges = torch.linspace(low, high, bins_of_it + 1, dtype=torch.float64)
            if sign == "unequal":
                edges = edges**2 / high
            counts = torch.bincount(
                (torch.bucketize(values.double(), edges) - 1).clamp(0, bins_of_it - 1), minlength=bins_of_it
            )
            histogram = counts, edges
            facts = f"400 values in {bins_of_it} bins from {low:.6g} to {high:.6g}, {num_bits} bits"
            result = expect_returns(
                lambda histogram=histogram, num_bits=num_bits: mse_range(histogram, num_bits),
                bins,
                given=facts,
                hint=hints[bins],
            )
            error, candidates = errors(histogram, num_bits)
            nearest = (torch.tensor(result, dtype=torch.float64) - candidates).abs().sum(1).argmin()
            expect_close(
                result,
                candidates[nearest],
                both,
                within=1e-9 * float(candidates.abs().max()),
                given=facts,
                hint=hints[both],
            )
            # a value near a halfway point may go either way, and both codes are equally far: float64 errors remain
            expect(
                error[nearest] <= error.min() * (1 + 1e-9) + 1e-24 * error.max(),
                middle if sign == "unequal" else exact if sign == "tiny" else least,
                given=facts,
                expected=f"{candidates[error.argmin()].tolist()} with error {float(error.min()):.6g}",
                got=f"{list(result)} with error {float(error[nearest]):.6g}",
                hint=hints[least],
            )
    ### END HIDDEN TESTS

# %% [markdown]
# **Explore: your function against pen and paper.** For Gaussian numbers ACIQ's formula and your search should agree
# about where to cut. Why can they not agree exactly?
#
# <details><summary>Answer</summary>
#
# Your grid has a code at 0 and $2^n - 1$ gaps where ACIQ has $2^n$ cells; your candidates are one per cent of the
# largest number apart; and both your ends shrink by the same factor, though these numbers reach further on one side
# than on the other, so the two ends cannot both be best.
#
# </details>

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
        p, q: tensors (N,) of one shape, float16, float32, float64 or any dtype of whole numbers, each of its own; none
            negative (-0.0 is not): counts or probabilities. Each is divided by its own sum first, which is finite in
            float64; no share is between 0 and 1e-300. They are not changed.

    Returns:
        Python float, 0 or more; math.inf if q is 0 somewhere where p is not. Calculated in float64.

    Raises:
        ValueError: if the shapes differ, if a number is negative or NaN, or if p or q sums to 0 (N = 0 included).
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
    is_sum = "the divergence is the sum of p ln(p / q), and a term with p = 0 is 0"
    infinite = "the divergence is infinite where q is 0 and p is not"
    shares = "p and q are divided by their sums first"
    equal = "the divergence of equal distributions is 0, and none is negative"
    exact = "all is calculated in float64; nothing is rounded, and no small number added"
    hints = {
        is_sum: "which logarithm, which of the two in front and on top? And what is 0 times ln 0, if you let it?",
        infinite: "one such place is enough; and no small number stands for 0",
        shares: "each by its own sum, whatever the dtype",
        equal: "rounding may leave a tiny number on the wrong side of 0",
        exact: "float32 has 24 bits: for counts, for sums, for logarithms",
    }

    def try_kl(rule, facts, p, q, expected, within=1e-12):
        """One pair against its divergence; then both must be what they were."""
        before = state_of(p, q)
        result = expect_returns(lambda: kl_divergence(p, q), rule, given=facts, hint=hints[rule])
        hint = "which of your steps leaves a tensor?"
        expect_type(result, float, "the result is a Python float", given=facts, hint=hint)
        if math.isclose(result, expected, rel_tol=1e-5, abs_tol=1e-6):
            rule = exact  # so near that only rounding can be at fault
        expect_close(result, expected, rule, within=within, given=facts, hint=hints[rule])
        expect(result >= 0, equal, given=facts, got=result, hint=hints[equal])
        hint = "/= and methods that end in _ write into their tensor"
        expect_unchanged(before, state_of(p, q), "p and q are not changed", hint=hint)

    p, q = torch.tensor([0.5, 0.5, 0.0]), torch.tensor([0.125, 0.5, 0.375])
    ln = math.log
    try_kl(is_sum, "p = (1/2, 1/2, 0), q = (1/8, 1/2, 3/8)", p, q, 0.5 * ln(4))
    try_kl(
        is_sum, "p = (1/4, 3/4), q = (3/4, 1/4)", torch.tensor([0.25, 0.75]), torch.tensor([0.75, 0.25]), 0.5 * ln(3)
    )
    try_kl(is_sum, "p = (0, 1, 0), q = (1/2, 1/2, 0)", torch.tensor([0.0, 1, 0]), torch.tensor([0.5, 0.5, 0]), ln(2))
    try_kl(infinite, "p = (1/8, 1/2, 3/8), q = (1/2, 1/2, 0)", q, p, math.inf)
    p, q = torch.tensor([5, 3, 2, 0]), torch.tensor([5, 3, 0, 2])
    try_kl(infinite, "p = (5, 3, 2, 0), q = (5, 3, 0, 2)", p, q, math.inf)
    p, q = torch.tensor([[0.5, 0.5], [1.0, 1e-30]], dtype=torch.float64)
    try_kl(is_sum, "p = (1/2, 1/2), q = (1, 1e-30)", p, q, ln(0.5) - 0.5 * ln(1e-30))
    try_kl(infinite, "p = (1, 1e-30), q = (1, 0)", q, torch.tensor([1.0, 0.0]), math.inf)
    counts = torch.tensor([[6, 1], [0, 1], [2, 2]])
    wanted = 0.75 * ln(3) + 0.25 * ln(0.5)
    for dtype in (torch.int64, torch.int32, torch.uint8, torch.float32, torch.float64):
        p, q = counts.to(dtype).unbind(1)
        try_kl(shares, f"p = (6, 0, 2), q = (1, 1, 2), columns of a {dtype} tensor", p, q, wanted)
    try_kl(shares, "p = (6, 0, 2) of int64, q = (1/2, 1/2, 1)", counts[:, 0], torch.tensor([0.5, 0.5, 1.0]), wanted)
    for factor in (1e-290, 2.0**32, 1e290):
        p, q = counts.double().unbind(1)
        try_kl(shares, f"p = (6, 0, 2), q = {factor:g} * (1, 1, 2)", p, q * factor, wanted)
        try_kl(shares, f"p = {factor:g} * (6, 0, 2), q = (1, 1, 2)", p * factor, q, wanted)
    for p in (torch.tensor([7]), torch.tensor([3, 0, 5]), torch.tensor([0.1, 0.2, 0.7]), torch.arange(1, 50)):
        try_kl(equal, f"p = {p.tolist()[:3]} ..., q = 3 p", p, p * 3, 0.0)
    g = generator()
    for count in range(2, 40):
        p = torch.rand(count, generator=g)
        for factor in (1, 3, 0.7):
            try_kl(equal, f"{count} random numbers, q = {factor} p", p, p.double() * factor, 0.0)
    for d in (1e-3, 1e-4, 1e-5, 1e-6):
        p, q = torch.ones(2, dtype=torch.float64), torch.tensor([1, 1 + d], dtype=torch.float64)
        near = math.log1p(d / 2) - math.log1p(d) / 2  # d^2 / 8
        try_kl(exact, f"p = (1, 1), q = (1, 1 + {d}); not quite equal", p, q, near, 2e-15)
    for t in (1e-6, 1e-10, 1e-13, 1e-16):  # a small p counts, too, where q is smaller still
        p, q = torch.tensor([[1, t], [1, 1e-290]], dtype=torch.float64)
        small = t * (ln(t) + 290 * ln(10)) / (1 + t) - math.log1p(t)
        try_kl(exact, f"p = (1, {t}), q = (1, 1e-290)", p, q, small, 2e-15)
    p, q = torch.tensor([[1e-200, 1.0], [1.0, 1.0]], dtype=torch.float64)
    try_kl(exact, "p = (1e-200, 1), q = (1, 1)", p, q, ln(2))
    wide = "sums are taken in float64, whatever the dtype"
    hints[wide] = "three times 2^62 wraps around in int64, twice 60000 is infinite in float16"
    third = torch.tensor([1, 1, 2])
    for dtype, factor in (
        *((torch.int8, 60), (torch.uint8, 120), (torch.int16, 16_000), (torch.int32, 2**30 - 1), (torch.int64, 2**61)),
        *((torch.float16, 30_000), (torch.float32, 1.5e38), (torch.float64, 4e307)),
    ):
        p, q = (third.double() * factor).to(dtype), (third.flip(0).double() * factor).to(dtype)
        expected = 0.25 * ln(0.5) + 0.5 * ln(2)
        try_kl(wide, f"{dtype}: {factor} * (1, 1, 2) and {factor} * (2, 1, 1)", p, q, expected)
        try_kl(wide, f"{dtype}: (1, 1, 2) and {factor} * (2, 1, 1)", third.to(dtype), q, expected)
    p, q = torch.tensor([1.0, -0.0, 3.0]), torch.tensor([1.0, 1.0, 2.0])
    expected = 0.25 * ln(0.25 / 0.25) + 0.75 * ln(0.75 / 0.5)
    try_kl(is_sum, "p = (1, -0.0, 3), q = (1, 1, 2)", p, q, expected)
    p, q = torch.tensor([1.0, 0.0, 3.0]), torch.tensor([1.0, -0.0, 1.0])
    try_kl(is_sum, "p = (1, 0, 3), q = (1, -0.0, 1)", p, q, 0.25 * ln(0.5) + 0.75 * ln(1.5))
    p = torch.arange(70_001) % 7 + 1
    q = p.clone()
    q[70_000] = 0
    try_kl(infinite, "70001 counts; q is 0 at the last place", p, q, math.inf)
    own, hint = (
        "each call goes by the numbers as they are then",
        "what is kept between two calls, and how is it known again?",
    )
    for dtype in (torch.int64, torch.float32, torch.float64):
        p, q = torch.tensor([1, 3], dtype=dtype), torch.tensor([3, 1], dtype=dtype)
        for results in reused(kl_divergence, [(p, q), (p, p * 2), (p * 0 + 1, q), (q, p)]):
            facts = f"the same two {dtype} tensors, with other numbers in them at the next call"
            expected = [0.5 * ln(3), 0.0, 0.5 * ln(2 / 3) + 0.5 * ln(2), 0.5 * ln(3)]
            expect_close(results, expected, own, within=1e-12, given=facts, hint=hint)
    big = 2**24 + 1  # the first whole number that float32 cannot hold
    p, q = torch.tensor([big, 1, 0]), torch.tensor([1, big, 0])
    try_kl(exact, "p = (2^24 + 1, 1, 0), q = (1, 2^24 + 1, 0)", p, q, (big - 1) / (big + 1) * ln(big))
    p, q = torch.ones(100_000), torch.ones(100_000)
    q[50_000:] = 3.0
    try_kl(exact, "100000 times 1; 50000 times 1 and 50000 times 3", p, q, ln(2) - 0.5 * ln(3), 1e-10)
    refusals = {
        "two different shapes are refused with a ValueError": (
            *(([1, 2], [3]), ([3], [1, 2]), ([1, 2, 3], [1, 2]), ([0, 0, 0], [1, 1]), ([2, 2], [2, 2, 2])),
            *(([1, 2], [[1], [2]]), ([1, 2], [[1, 2]]), ([[1, 2]], [1, 2]), ([1, 2], []), ([], [3])),
        ),
        "negative numbers are refused with a ValueError": (
            *(([1.0, -1.0, 2.0], [1.0, 1.0, 1.0]), ([1, 1], [3, -1])),
            *(([3, -1], [3, -1]), ([1, 0], [3, -1]), ([2, -1, 1], [0, 1, 1]), ([1, 1], [-1, -1]), ([-2, -2], [1, 1])),
            *(([1.0, -1e-30], [1.0, 1.0]), ([1.0, 1.0], [1.0, -1e-30]), ([-1, 1], [1, 0]), ([0.0, 1.0], [-1e-30, 1.0])),
        ),
        "NaN is refused with a ValueError": (
            *(([1.0, math.nan], [1.0, 1.0]), ([1.0, 1.0], [math.nan, 1.0])),
            *(([1.0, 0.0], [1.0, math.nan]), ([1.0, math.nan], [1.0, 0.0]), ([math.nan], [math.nan])),
            *(([1.0, 0.0, 1.0], [0.0, math.nan, 1.0]), ([math.nan, 0.0], [0.0, 0.0]), ([math.nan, 1.0], [0.0, 1.0])),
        ),
        "a p or q that sums to 0 is refused with a ValueError": (
            *(([0, 0], [1, 1]), ([1, 1], [0, 0]), ([0, 0], [0, 0]), ([0.0, -0.0], [1.0, 1.0]), ([0], [0]), ([], [])),
        ),
    }

    def expect_refused(rule, p, q):
        """A ValueError for these."""
        p, q = torch.tensor(p), torch.tensor(q)
        hint = "what do you know of p and of q before you divide? A comparison with NaN is always false"
        facts = f"p = {p.tolist()}, q = {q.tolist()}"
        expect_raises(ValueError, lambda: kl_divergence(p, q), rule, given=facts, hint=hint)

    for rule, pairs in refusals.items():
        for p, q in pairs:
            expect_refused(rule, p, q)
    ### BEGIN HIDDEN TESTS
    for count in (1, 2, 300):
        for kind in ("counts", "floats", "one-sided zeros", "both zero", "large counts"):
            p, q = (torch.randint(1, 1000, (count,), generator=g) for _ in range(2))
            if kind == "floats":
                p, q = p.double() / 977, q.double() / 31
            if kind == "one-sided zeros":
                p[torch.rand(count, generator=g) < 0.5] = 0
                p[0] = 5
            if kind == "both zero" and count > 1:
                p[-1] = q[-1] = 0
            if kind == "large counts":
                p, q = p * 2**30 + 1, q * 2**31 + 3
            p1, q1 = p.double() / p.sum(), q.double() / q.sum()
            expected = float(torch.where(p1 > 0, p1 * (p1.clamp(min=1e-300) / q1.clamp(min=1e-300)).log(), 0.0).sum())
            rule = exact if kind == "large counts" else is_sum if kind != "counts" else shares
            # 300 terms, each good to a few 2^-53 of a few nats
            try_kl(rule, f"{count} numbers, {kind}", p, q, max(expected, 0.0))
            try_kl(equal, f"{count} numbers, {kind}, q = 3 p", p, p * 3, 0.0)
    for _ in range(40):
        p = torch.rand(int(torch.randint(2, 30, (), generator=g)), generator=g)
        try_kl(equal, f"{len(p)} float32 numbers, q = p", p, p.clone(), 0.0)
    p, q = torch.randint(1, 9, (2, 40), generator=g)
    q[17] = 0
    try_kl(infinite, "40 counts; q is 0 at one place", p, q, math.inf)
    for rule, p, q in (
        ("two different shapes are refused with a ValueError", [1.0], [1.0, 2.0, 3.0]),
        ("negative numbers are refused with a ValueError", [2, 1], [-1, 3]),
        ("negative numbers are refused with a ValueError", [-1e-30, 1.0], [1.0, 1.0]),
        ("NaN is refused with a ValueError", [math.nan], [1.0]),
        ("a p or q that sums to 0 is refused with a ValueError", [0.0], [2.0]),
    ):
        expect_refused(rule, p, q)
    ### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 4: TensorRT's threshold
#
# TensorRT collects a histogram of each layer's activations, tries many saturation thresholds, and takes the one whose
# quantized distribution has the least divergence from the original.
#
#
# The histogram is one of **magnitudes**: $B$ bins from 0 up (TensorRT takes 2048). An 8-bit code of TensorRT has a
# sign, so $L = 2^{8-1} = 128$ levels are left for a magnitude. A threshold is always the right edge of a bin. For every
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
# What is cut appears in $P$ and not in $Q$, so $Q$ pays for each value that was cut; and the coarser the levels, the
# less $Q$ looks like $P$ within a level. If the last level has no counts of its own while values were cut, $D$ is
# infinite, and this $i$ is out. So it is if none of the first $i$ bins holds a value: then $Q$ is 0 everywhere, and no
# distribution at all. Test for this *before* you calculate $D$: your `kl_divergence` refuses such a $Q$.
#
# You may call your `kl_divergence`, or write its sum again, faster. A loop over $i$ is fine, but leave the loops inside
# it to torch.


# %% nbgrader={"grade_id": "entropy_threshold", "solution": true}
def entropy_threshold(histogram, num_bits=8):
    """The saturation threshold with the least Kullback-Leibler divergence, as TensorRT chooses it.

    Args:
        histogram: (counts, edges) of magnitudes: int64 (B,), less than 2^53 together, and float64 (B + 1,) with
            edges[0] = 0, increasing, not always equally far apart. It is not changed.
        num_bits: whole number from 2 to 16; L = 2^(num_bits - 1) levels are for the magnitude.

    Returns:
        Python float, one of edges[L] .. edges[B]; of equally good ones any will do. With B <= L there is nothing to
        choose, and it is the last edge. Calculated in float64.

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
    every = "every histogram with values gives a threshold"
    one_of = "the threshold is one of edges[L] .. edges[B]"
    cut = "P and Q: what lies further out is added to P's last bin, and is not in Q"
    levels = "levels: bin j of i belongs to level floor(j L / i)"
    spread = "Q: a level spreads its total evenly, over those of its bins where P is not 0"
    infinite = "D: an i at which Q is 0 where P is not is out"
    shares = "D: P and Q are both divided by their own sums"
    forwards = "D: it is D(P || Q), not D(Q || P)"
    least = "the threshold is edges[i] for the i with the least divergence"
    few = "with no more bins than levels the threshold is the last edge"
    exact = "all is calculated in float64"
    hints = {
        every: "is there a level without a used bin, or a Q that is 0 everywhere? Test for it before you divide",
        one_of: "the first candidate keeps L bins, the last one all; and the result is in the unit of the values",
        cut: "saturation does not lose what it cuts: where does it go in P? And does Q know of it?",
        levels: "i need not be a multiple of L; are your levels whole numbers, calculated from j times L?",
        spread: "how many bins share a level's total, and which? (The last bin of P may have got something.)",
        infinite: "what is ln(p / 0)? Leave the whole i out, not only this bin",
        shares: "their sums differ, because P has what was cut",
        forwards: "which of the two stands in front of the logarithm?",
        least: "does the loop go through all i, to B itself? Is it the right edge of the last bin that is kept?",
        few: "there may be no i to choose from",
        exact: "float32 has 24 bits: for counts, for sums, for logarithms",
    }

    def try_entropy(rule, counts, num_bits, i, curve="", edges=None):
        """One histogram against its threshold, the right edge of bin i - 1; then it must be what it was."""
        edges = torch.arange(len(counts) + 1, dtype=torch.float64) / 2 if edges is None else edges
        histogram = torch.tensor(counts), edges
        before = state_of(histogram)
        facts = f"counts {', '.join(map(str, counts))}, {num_bits} bits, so L = {2 ** (num_bits - 1)}"
        facts += f"; D for i = {2 ** (num_bits - 1)}, ..., {len(counts)}: {curve}" if curve else ""
        result = expect_returns(lambda: entropy_threshold(histogram, num_bits), every, given=facts, hint=hints[every])
        hint = "which of your steps leaves a tensor, or nothing?"
        expect_type(result, float, "the result is a Python float", given=facts, hint=hint)
        lowest = min(2 ** (num_bits - 1), len(counts))
        expect(result in edges[lowest:].tolist(), one_of, given=facts, got=result, hint=hints[one_of])
        told = f"edges[{i}] = {float(edges[i])}, after the first {i} bins"
        came = f"{result}, after the first {edges.tolist().index(result)} bins"
        rule = least if result == float(edges[i - 1]) else rule  # the left edge of the right bin
        expect(result == float(edges[i]), rule, given=facts, expected=told, got=came, hint=hints[rule])
        expect_unchanged(before, state_of(histogram), "the histogram is not changed", hint="a slice is a view of it")

    # each histogram is one that a mistake in this very step gets wrong
    for rule, counts, num_bits, i, curve in (
        (infinite, [3, 12, 0, 1, 0, 1, 2], 2, 2, "0.006, infinite, 0.272, 0.300, 0.214, 0.342"),
        (infinite, [2, 16, 0, 1, 0, 1, 8], 2, 2, "0.009, infinite, 0.656, 0.787, 0.591, 0.492"),
        (cut, [4, 1, 16, 9, 1, 2], 2, 4, "1.072, 0.052, 0.039, 0.325, 0.411"),
        (cut, [8, 4, 6, 5, 5, 1], 2, 5, "0.318, 0.157, 0.073, 0.026, 0.086"),
        (shares, [3, 8, 3, 1, 1, 16, 1], 2, 2, "0.103, 0.507, 0.580, 0.903, 0.447, 0.470"),
        (
            shares,
            [5, 16, 8, 9, 5, 2, 0, 3, 2, 1, 9],
            2,
            2,
            "0.082, 0.353, 0.254, 0.179, 0.168, 0.290, 0.224, 0.225, 0.198, 0.204",
        ),
        (
            forwards,
            [1, 3, 5, 1, 8, 0, 2, 0, 3, 12],
            2,
            2,
            "0.189, 0.273, 0.439, 0.558, 0.412, 0.205, 0.318, 0.476, 0.284",
        ),
        (forwards, [1, 5, 9, 3, 5, 16, 5, 12], 2, 2, "0.121, 0.240, 0.363, 0.688, 0.444, 0.162, 0.157"),
        (levels, [8, 8, 9, 2, 5, 6, 16, 2], 3, 7, "0.788, 0.351, 0.218, 0.045, 0.155"),
        (levels, [9, 12, 1, 8, 8, 1, 8, 1], 2, 2, "0.131, 1.078, 0.453, 0.190, 0.146, 0.207, 0.250"),
        (levels, [8, 5, 3, 16, 12, 16, 1, 3, 1], 3, 6, "0.135, 0.129, 0.018, 0.145, 0.101, 0.154"),
        (levels, [1, 5, 16, 3, 16, 2, 0, 1], 3, 5, "0.431, 0.037, 0.149, infinite, 0.285"),
        (spread, [0, 8, 0, 12, 12, 8, 16, 2], 3, 7, "0.166, 0.160, 0.157, 0.008, 0.114"),
        (spread, [3, 6, 2, 16, 12, 9, 1, 2], 3, 6, "0.083, 0.068, 0.023, 0.160, 0.139"),
        (
            spread,
            [1, 4, 1, 0, 2, 12, 5, 3, 1, 8],
            2,
            2,
            "0.136, 1.204, 1.683, 0.802, 0.469, 0.244, 0.197, 0.141, 0.222",
        ),
        (spread, [5, 2, 4, 5, 4, 0, 1, 3], 2, 6, "0.550, 0.272, 0.177, 0.060, 0.049, 0.058, 0.077"),
        (
            least,
            [6, 0, 3, 1, 2, 0, 1, 1],
            2,
            4,
            "infinite, 0.119, 0.078, 0.134, 0.080, 0.151, 0.160",
        ),  # the example in the text
        (least, [1, 1, 0, 1, 5, 5, 5], 2, 7, "0.479, infinite, 0.673, 0.469, 0.246, 0.000"),
    ):
        try_entropy(rule, counts, num_bits, i, curve)
    edges = torch.tensor([0, 1, 2, 4, 8, 16, 32, 64, 128], dtype=torch.float64)
    try_entropy(least, [6, 0, 3, 1, 2, 0, 1, 1], 2, 4, "as before, on edges 0, 1, 2, 4, ..., 128", edges)
    try_entropy(least, [25] * 40, 3, 40)  # spread evenly: nothing need be cut
    for counts in ([7], [0, 0, 9], [1, 2, 3, 4], [6, 0, 3, 1, 2, 0, 1, 1]):
        try_entropy(few, counts, 3 if len(counts) < 5 else 8, len(counts))
    try_entropy(infinite, [0] * 9 + [4], 3, 10)  # Q is 0 everywhere but for i = 10
    try_entropy(infinite, [9, 0, 0, 0, 0, 0, 0, 0, 1], 3, 9)
    counts = [9_000_000, 9_000_000, 2_000_000, 2_000_000, 5_000_000, 5_000_000, 0, 0, 1]
    try_entropy(infinite, counts, 3, 6)  # a single value at the end makes D infinite for i = 7 and 8
    try_entropy(least, [25] * 2050, 12, 2050)  # spread evenly, in more bins than TensorRT has
    try_entropy(least, [5, 5] + [0] * 2097 + [5, 5], 12, 2101, "0 for i = 2101 only")
    for half in (41, 49):  # 41 * (2 / 82) is less than 1 in float32, 49 * (2 / 98) in float64
        try_entropy(levels, [9] * half + [1] * half, 2, 2 * half)
    try_entropy(exact, [count * 2**32 for count in (6, 0, 3, 1, 2, 0, 1, 1)], 2, 4)
    tiny = torch.linspace(0, 1e-30, 9, dtype=torch.float64)
    try_entropy(exact, [6, 0, 3, 1, 2, 0, 1, 1], 2, 4, "as before, on edges from 0 to 1e-30", tiny)
    counts = [38397476, 22037825, 29069373, 40886773, 32341194, 45668156, 54879519, 15352236, 4525539]
    try_entropy(exact, counts, 2, 8, "for i = 7 and 8 they differ by 1.5e-8")
    counts = [67108869, 16777238, 268435495, 150995000, 16777289, 7537297]
    try_entropy(least, counts, 2, 3, "for i = 3 it is less than for i = 4, by 2.1e-9")
    counts = [30830999, 83886102, 50331687, 150995000, 33554505, 16777306]
    try_entropy(least, counts, 2, 2, "for i = 2 it is less than for i = 5, by 1.8e-8")
    try_entropy(one_of, [5, 3, 0, 0, 0, 0], 3, 4, "0.000, 0.032, 0.032")  # no value lies beyond edges[2]
    counts = [5, 7, 5, 9, 3, 12, 0, 0, 0]
    try_entropy(least, counts, 2, 9, "0.209, 0.367, 0.229, 0.084, 0.078, 0.091, 0.091, 0.044")
    counts = [5000, 1, 3, 1, 300, 1, 2, 1, 5000, 5000, 2, 2]
    curve = "5.105, 4.591, 4.862, 2.142, 2.324, 2.415, 2.606, 1.440, 1.076, 1.137, 1.256"
    try_entropy(least, counts, 2, 10, curve)  # nothing says that a divergence is less than 1
    far = [200, 100, 50, 25, 12, 6] + [1] * 300 + [300, 3] * 8
    try_entropy(least, far, 3, 322, "better than at first only from i = 320 on")
    for a, i in ((53, 284), (55, 293)):
        counts = [1 + (a * k * k + 11 * k) % 101 * max(0, 150 - k) // 50 + 3 * (k % 25 == 0) for k in range(301)]
        try_entropy(least, counts, 4, i, f"least for i = {i}")
    for counts, num_bits in (([3, 0], 2), ([1] * 2048, 12), ([0, 0, 5, 0], 16)):
        try_entropy(few, counts, num_bits, len(counts))
    huge = torch.linspace(0, 8e300, 9, dtype=torch.float64)
    try_entropy(exact, [6, 0, 3, 1, 2, 0, 1, 1], 2, 4, "as before, on edges from 0 to 8e300", huge)
    own, hint = (
        "each call goes by the histogram as it is then",
        "what is kept between two calls, and how is it known again?",
    )
    edges, sets = torch.arange(9, dtype=torch.float64), []
    for counts, factor in (
        ([6, 0, 3, 1, 2, 0, 1, 1], 1),
        ([6, 0, 3, 1, 2, 0, 1, 1], 2),
        ([1, 5, 9, 3, 5, 16, 5, 12], 1),
    ):
        sets.append(((torch.tensor(counts), edges * factor), 2))
    for results in reused(entropy_threshold, sets):
        facts = "the same two tensors, with other counts or edges in them at the next call"
        expect_equal(results, [4.0, 8.0, 2.0], own, given=facts, hint=hint)
    empty = "a histogram without values is refused with a ValueError"
    for bins in (3, 300):
        nothing = torch.zeros(bins, dtype=torch.int64), torch.linspace(0, 1, bins + 1, dtype=torch.float64)
        facts = f"{bins} bins, all counts 0, 8 bits"
        expect_raises(ValueError, lambda h=nothing: entropy_threshold(h, 8), empty, given=facts, hint="sum the counts")
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

    def try_drawn(kind, count, bins, num_bits):
        """A histogram of drawn values against the curve of all divergences."""
        histogram = histogram_of(magnitudes(kind, count), bins)
        facts = f"{count} values ({kind}) in {bins} bins up to {float(histogram[1][-1]):.6g}, {num_bits} bits"
        thresholds, divergence = (torch.from_numpy(a) for a in entropy_curve(histogram, num_bits))
        result = expect_returns(
            lambda: entropy_threshold(histogram, num_bits),
            every,
            given=facts,
            hint=hints[every],
        )
        nearest = int((thresholds - float(result)).abs().argmin())
        expect_equal(result, thresholds[nearest], one_of, given=facts, hint=hints[one_of])
        # float64 sums of up to 2048 terms are good to 1e-12 nats
        expect(
            divergence[nearest] <= divergence.min() + 1e-11,
            least,
            given=facts,
            expected=f"{float(thresholds[divergence.argmin()]):.6g} with {float(divergence.min()):.6g} nats",
            got=f"{float(result):.6g} with {float(divergence[nearest]):.6g} nats",
            hint="cut values count in P only; bin j belongs to level floor(j L / i); spread only where P > 0",
        )

    for number, kind in enumerate(kinds):
        try_drawn(kind, 3000, 67 + number, 2 + number)
        try_drawn(kind, 200, 150, (8, 4)[number % 2])
    try_drawn("outliers", 50_000, 307, 6)
    ### BEGIN HIDDEN TESTS
    for kind in kinds:
        for count, bins, num_bits in ((3000, 41, 3), (3000, 47, 5), (200, 90, 4), (40, 43, 4)):
            try_drawn(kind, count, bins, num_bits)
    try_drawn("relu", 50_000, 509, 8)
    counts = [31104442, 17520880, 32932296, 21674630, 8158524, 51714825, 16710367, 44380066, 10053209]
    try_entropy(exact, counts, 2, 9)
    for counts, num_bits in (([5], 2), ([0, 3], 2), ([1, 1, 1, 1, 1, 1, 1, 9], 4), ([0] * 12 + [3], 4)):
        try_entropy(few if len(counts) <= 8 else infinite, counts, num_bits, len(counts))
    ### END HIDDEN TESTS

# %% [markdown]
# ## Explore: where entropy fails
#
# For the input of each layer: where do the four ways cut, and what is the mean squared error at 8 bits? The last column
# is the error divided by the least one of the layer.

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
# <details><summary>For the curious: the input image</summary>
#
# The input image is a curious case. Its pixels come from 256 levels, so one would expect that 8 bits keep them
# exactly. But the range $[-1, 1]$ has its 0 in the middle *between* two of these levels, and a code must mean exactly
# 0: so the whole grid is shifted by half a step, and every pixel is off by just that. A slightly different step does
# better. (The table takes each value for the middle of its bin, as `mse_range` does, so its figure is not exactly the
# square of half a step.)
#
# </details>
#
# Now look at `entropy` behind a ReLU. It cuts the activations at a small part of their range, and its squared error is
# far beyond the least one: see the last column. This is no bug in your code, it is what the rule says. The demo shows
# why. It draws the histogram of a layer's magnitudes and, below it, both measures for every threshold. Move the
# threshold, the black line: what is shaded is cut. The coloured lines are your functions' choices at 8 bits. Where the
# blue curve is interrupted the divergence is infinite.
#
# <details><summary>For the curious: why entropy's thresholds are such round numbers</summary>
#
# The observer's bins are as wide as a power of two, so that it can fold two of them into one when larger values
# arrive; between 1,024 and 2,048 of them are in use. The lowest threshold is the end of bin number 128.
#
#
# </details>

# %% tags=["explore"]
from course_utils.demos import threshold_demo, threshold_still

layers = {name: observed(name, 50).histogram for name in WEIGHTED[1:]}
marks = {name: {way: choices(name, 50, 8)[way][1] for way in ("entropy", "least squares")} for name in layers}
display(threshold_demo(layers, marks))

# %% [markdown]
# The same without widgets. Here the black line stands where the squared error is least.

# %% tags=["explore"]
display(threshold_still({name: layers[name] for name in ("layer3_conv", "layer8_fc")}, marks))

# %% [markdown]
# The divergence climbs a staircase, and each stair begins just above a whole multiple of the lowest threshold. The
# reason is the first bin: it holds all the exact zeros that ReLU made, many times as many values as any other bin. At
# $i = 128$, the lowest threshold, this bin has a level to itself, so $Q$ gets it right. From $i = 129$ on it shares
# its level with a second bin, and the level spreads its count *evenly*: a spike beside an ordinary bin becomes two bins
# of middle height. Above $i = 256$ it shares with a third bin, which makes another stair, and so on. Along a stair the
# divergence falls, because less is cut, but each step up costs, mostly more than is won.
#
# So entropy calibration protects the *shape* of the histogram around zero, where the network needs no help: the code
# for 0 is exact anyway. The squared error weighs a value by how far it moves, and exact zeros do not move. (The
# histogram counts them at the middle of their bin, and that is a part of the printed errors.)
#
# A simple remedy, in the table above as "entropy, no spike": give the first bin as many values as the second has, then
# search.

# %% tags=["explore"]
from course_utils.quantization import entropy_curve

found = {}
for name in ("layer3_conv", "layer7_fc"):
    pair = layers[name].magnitudes().pair()
    found[name] = [(*entropy_curve(h, 8), entropy_threshold(h, 8)) for h in (pair, without_spike(pair))]

figure, axes = plt.subplots(1, 2, figsize=(10, 3.4))
styles = ("with the spike", "-", COLOURS["vermillion"]), ("without", "--", COLOURS["blue"])
for ax, (name, curves) in zip(axes, found.items(), strict=True):
    for (thresholds, divergence, chosen), (label, style, colour) in zip(curves, styles, strict=True):
        ax.plot(thresholds, divergence, style, color=colour, label=label)
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
# Now, as in the assignment, a class that calibrates `ClassyClassifier` and then runs it on codes. The
# network has eight layers. Five have weights, and a `ReLU` follows all of them but the last:
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
# it is that of `output`. **Pooling and flattening** work on codes directly and change no grid: the largest code
# belongs to the largest value.
#
# **ReLU on codes.** The assignment writes `F.relu(x)` there, with codes from 0 to 255. That does nothing at all! A code
# is never negative; the code that means 0 is the zero point. ReLU on codes is `max(q, zeropoint)`. (In the assignment
# all ends well: why, is a question at the end.) Yours must be right for every zero point.
#
# **Calibration.** For each batch and each of the eight layers, record the minimum and the maximum of the layer's
# *input*, and of the network's output under the name `"output"`. Then average the minima and the maxima over the
# batches, and make a grid for this average range: one strange image can stretch the range of its batch, but only a
# little that of the average.
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
        model: a ClassyClassifier. It is not changed (parameters, mode, hooks), not even by a call that raises.

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
        """Runs the float network on batches and fills calibration_input_stats. Every call starts anew, whatever came of
        the one before.

        Args:
            batches: iterable of float tensors (B, 3, 32, 32), contiguous or not, to be gone through once. B may differ.
                None is changed.

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
        layers with weights and of "output", in whatever order they stand; no other entry is needed), so that another
        method's ranges can be written there.

        Args:
            x: float32 tensor (B, 3, 32, 32), contiguous or not. It is not changed.

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
def calibrated(weights, *lists_of_batches, training=True):
    """The statistics after calibrate was called with each list; those of another quantizer; the network at the end."""
    network = network_of(weights, training)
    quantizer, other = QuantizerForClassyClassifier(network), QuantizerForClassyClassifier(network)
    for list_of_batches in lists_of_batches:
        quantizer.calibrate(batch for batch in list_of_batches)
    return quantizer.calibration_input_stats, other.calibration_input_stats, state_of(network)


@probe
def calibrated_after_failure(weights, batches, bad, training):
    """The statistics of a call after one that raised because of its last batch, or had none; the network between."""
    network = network_of(weights, training)
    quantizer = QuantizerForClassyClassifier(network)
    try:
        quantizer.calibrate([] if bad is None else [*batches, bad])
    except (ValueError, RuntimeError):
        look = state_of(network)
    quantizer.calibrate(batches)
    return quantizer.calibration_input_stats, look


with check("quantizer_for_classy_classifier"):
    keys = "calibration_input_stats has an entry for each of the eight layers and for the output"
    parts = "every entry has min, max, avg_min, avg_max, input_scalefactor and input_zeropoint"
    lists = "min and max are lists with one number for each batch"
    numbers_ = "the numbers are Python floats, and input_zeropoint an int"
    inputs_of = "what is recorded for a layer is its input: what the layers before it give, after ReLU"
    as_it_is = "the output of the last layer is recorded as it is, without ReLU"
    means = "avg_min and avg_max are the means of the batches' minima and maxima"
    grid_of = "input_scalefactor and input_zeropoint are the 8-bit grid for [avg_min, avg_max]"
    anew = "a second call of calibrate starts anew"
    refused = (
        "calibration without any batch, or with a batch that contains NaN or infinity, is refused with a ValueError"
    )
    hints = {
        inputs_of: "when do you record, before or after the layer, before or after ReLU?",
        as_it_is: "does RELU_AFTER name layer8_fc?",
        means: "every batch counts the same, however many images it has",
        grid_of: "one of the given functions does it; which two numbers does it get?",
    }

    def expect_numbers(stats):
        """All entries are there, with numbers of the right types."""
        hint = "a dict of dicts; the names stand in the docstring"
        expect(isinstance(stats, dict), keys, got=type(stats).__name__, hint=hint)
        expect(set(stats) == {*LAYERS, "output"}, keys, expected=[*LAYERS, "output"], got=list(stats), hint=hint)
        names = ("avg_min", "avg_max", "input_scalefactor", "input_zeropoint")
        for name, entry in stats.items():
            held = isinstance(entry, dict) and {"min", "max", *names} <= set(entry)
            expect(held, parts, given=name, got=list(entry) if isinstance(entry, dict) else entry, hint=hint)
            for key in ("min", "max"):
                expect_type(entry[key], list, lists, given=f"{key} of {name}", hint="append to a list")
            for value in (*entry["min"], *entry["max"], *(entry[key] for key in names[:3])):
                expect_type(value, float, numbers_, given=name, hint="which of your steps leaves a tensor?")
            expect_type(
                entry["input_zeropoint"], int, numbers_, given=name, hint="leave it as scale_and_zeropoint gives it"
            )

    # a network that one can follow by hand: all weights are 0, so a layer's output is its bias
    network = ClassyClassifier()
    with torch.no_grad():
        for number, (parameter_name, parameter) in enumerate(network.named_parameters()):
            parameter.zero_()
            if parameter_name.endswith("bias"):
                parameter.copy_(torch.linspace(-1 - number, 2 + number, len(parameter)))
    weights = {key: value.detach() for key, value in network.state_dict().items()}
    examples = [
        torch.linspace(-low, high, count * 3 * 32 * 32).reshape(count, 3, 32, 32)
        for low, high, count in ((1, 1, 2), (2, 4, 1), (6, 1, 3))
    ]
    before = state_of(examples)
    stats, other, look = expect_returns(
        lambda: calibrated(weights, examples),
        "the batches are gone through once",
        given="three batches that come from a generator",
        hint="how many of your loops go over the batches?",
    )
    expect_numbers(stats)
    expect_close(
        [stats["layer1_conv"]["min"], stats["layer1_conv"]["max"]],
        [[-1.0, -2.0, -6.0], [1.0, 4.0, 1.0]],
        lists,
        within=1e-6,
        given="three batches, with values from -1 to 1, -2 to 4 and -6 to 1",
        hint="the input of the first layer is the batch itself",
    )
    for name, low, high in (
        ("layer2_pool", 0, 3),
        ("layer3_conv", 0, 3),
        ("layer4_pool", 0, 5),
        ("layer5_flat", 0, 5),
        ("layer6_fc", 0, 5),
        ("layer7_fc", 0, 7),
        ("layer8_fc", 0, 9),
    ):
        expect_close(
            [stats[name]["min"], stats[name]["max"]],
            [[low] * 3, [high] * 3],
            inputs_of,
            within=1e-5,
            given=f"{name}, weights 0, biases of the layer with weights before it from {-high + 1} to {high}",
            hint=hints[inputs_of],
        )
    expect_close(
        [stats["output"]["min"], stats["output"]["max"]],
        [[-10.0] * 3, [11.0] * 3],
        as_it_is,
        within=1e-5,
        given="weights 0, biases of layer8_fc from -10 to 11",
        hint=hints[as_it_is],
    )
    expect_close(
        [stats["layer1_conv"]["avg_min"], stats["layer1_conv"]["avg_max"]],
        [-3.0, 2.0],
        means,
        within=1e-6,
        given="minima -1, -2, -6 and maxima 1, 4, 1, of batches with 2, 1 and 3 images",
        hint=hints[means],
    )
    expect_close(
        [stats["layer1_conv"]["input_scalefactor"], stats["layer1_conv"]["input_zeropoint"]],
        [5 / 255, 153],
        grid_of,
        within=1e-6,
        given="avg_min -3, avg_max 2",
        hint=hints[grid_of],
    )
    expect_equal(
        other, {}, "each quantizer has statistics of its own, empty before calibrate", given="another one beside it"
    )
    hint = "which of your lines writes into the model, switches its mode, or leaves something on it?"
    untouched = state_of(network_of(weights))
    expect_unchanged(untouched, look, "the model is not changed", hint=hint)
    look = calibrated(weights, examples, training=False)[2]
    expect_unchanged(state_of(network_of(weights, training=False)), look, "the model is not changed", hint=hint)
    hint = "methods that end in _ write into their tensor"
    expect_unchanged(before, state_of(examples), "the batches are not changed", hint=hint)
    again = calibrated(weights, examples, examples[:2])[0]
    expect_equal(
        [len(again[name]["max"]) for name in again],
        [2] * 9,
        anew,
        given="three batches, then two",
        hint="where are the lists made?",
    )
    expect_close(
        [again["layer1_conv"]["avg_min"], again["layer1_conv"]["avg_max"]],
        [-1.5, 2.5],
        anew,
        within=1e-6,
        given="minima -1 and -2, maxima 1 and 4 in the second call",
        hint="what is left of the first call?",
    )

    def expect_refused(facts, *batches):
        """A ValueError for these batches."""
        hint = "what do you know of a batch before it runs, and of the lists at the end?"
        expect_raises(ValueError, lambda: calibrated(weights, batches), refused, given=facts, hint=hint)

    expect_refused("no batch")
    for value in (math.nan, math.inf, -math.inf):
        broken = examples[0].clone()
        broken[1, 2, 5, 5] = value
        expect_refused(f"one {value} in the second batch", examples[0], broken)
    weights_above_0 = {key: torch.full_like(value, 0.01) for key, value in weights.items()}
    endless = torch.full((1, 3, 32, 32), 0.5).index_fill(3, torch.tensor(5), math.inf)
    expect_raises(
        ValueError,
        lambda: calibrated(weights_above_0, [examples[0], endless]),
        refused,
        given="inf in the second batch, in a network whose weights are above 0, so that no NaN comes of it",
        hint="look at the batch itself, not only at what comes of it",
    )
    rule, hint = "the model is not changed, not even by a call that raises", "what is left on it if a batch raises?"
    for bad, facts in (
        (broken, "one -inf in the last batch"),
        (torch.zeros(1, 3, 5, 5), "a last batch of tiny images"),
        (None, "no batch"),
    ):
        for training in (True, False):
            after, look = calibrated_after_failure(weights, examples[:2], bad, training)
            counted = [len(after[name]["max"]) for name in after]
            told = f"a call that raises ({facts}), then one with two good batches"
            expect_equal(counted, [2] * 9, anew, given=told, hint="which lists does a call begin with?")
            expect_unchanged(state_of(network_of(weights, training)), look, rule, hint=hint)
    rule, hint = "finite values are taken, however large", "of what do you ask whether it is finite?"
    large = torch.full((2, 3, 32, 32), 3e38)
    large[0] = -1e38
    entry = expect_returns(lambda: calibrated(weights, [large])[0]["layer1_conv"], rule, given="-1e38, 3e38", hint=hint)
    expect_close([entry["avg_min"], entry["avg_max"]], [-1e38, 3e38], rule, within=1e32, given="-1e38, 3e38", hint=hint)
    nothing = torch.zeros(1, 3, 32, 32)
    entry = calibrated(weights, [nothing])[0]["layer1_conv"]
    expect_equal([entry["input_scalefactor"], entry["input_zeropoint"]], [1, 0], grid_of, given="one batch of zeros")
    many = [nothing + number for number in (*range(60), -5, 7, 90, 3, 2, 1, 100)]
    entry, facts = calibrated(weights, many)[0]["layer1_conv"], "67 batches"
    expect_equal(entry["max"], [float(batch.max()) for batch in many], lists, given=facts, hint="are all looked at?")
    averages = [sum(entry["min"]) / 67, sum(entry["max"]) / 67]
    expect_close([entry["avg_min"], entry["avg_max"]], averages, means, within=1e-9, given=facts, hint=hints[means])
    stored = examples[1].permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    rule, facts = "how the images are stored does not matter", "a batch with its colours last in memory"
    entry = expect_returns(lambda: calibrated(weights, [stored])[0]["layer1_conv"], rule, given=facts)
    expect_equal([entry["min"], entry["max"]], [[-2.0], [4.0]], rule, given=f"{facts}, from -2 to 4")
    above = torch.linspace(2, 4, 3 * 32 * 32).reshape(1, 3, 32, 32)
    entry = calibrated(weights, [examples[0], above])[0]["layer1_conv"]
    facts = "two batches, from -1 to 1 and from 2 to 4"
    expect_close([entry["avg_min"], entry["avg_max"]], [0.5, 2.5], means, within=1e-6, given=facts, hint=hints[means])
    grid = [entry["input_scalefactor"], entry["input_zeropoint"]]
    expect_close(grid, [2.5 / 255, 0], grid_of, within=1e-6, given=facts, hint=hints[grid_of])
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
        stats, _, look = calibrated(weights, chosen)
        expect_numbers(stats)
        seen = [inputs(x) for x in chosen]
        for name in (*LAYERS, "output"):
            entry = stats[name]
            lows, highs = [float(s[name].min()) for s in seen], [float(s[name].max()) for s in seen]
            # float32 sums of up to 800 products, in another order perhaps: 800 * 2^-24 of the sum's size at most
            near = 1e-4 * max(abs(v) for v in lows + highs)
            rule = inputs_of if name != "output" else as_it_is
            facts = f"{name}, batches of {[len(x) for x in chosen]} images"
            expect_close([entry["min"], entry["max"]], [lows, highs], rule, within=near, given=facts, hint=hints[rule])
            averages = [sum(lows) / len(lows), sum(highs) / len(highs)]
            expect_close(
                [entry["avg_min"], entry["avg_max"]], averages, means, within=near, given=facts, hint=hints[means]
            )
            grid = scale_and_zeropoint(entry["avg_min"], entry["avg_max"])
            expect_close(
                [entry["input_scalefactor"], entry["input_zeropoint"]],
                grid,
                grid_of,
                within=1e-6 * grid[0],
                given=f"{name}, [{entry['avg_min']:.6g}, {entry['avg_max']:.6g}]",
                hint=hints[grid_of],
            )
        hint = "which of your lines writes into the model, switches its mode, or leaves something on it?"
        expect_unchanged(state_of(network_of(weights)), look, "the model is not changed", hint=hint)
    again = calibrated(weights, examples, examples[1:3])[0]
    expect_equal(
        [len(again[name]["max"]) for name in again],
        [2] * 9,
        anew,
        given="four batches, then two",
        hint="where are the lists made?",
    )
    for value in (math.nan, math.inf, -math.inf):
        broken = examples[1].clone()
        broken[0, 0, 5, 5] = value
        expect_refused(f"one {value} in the first batch", broken, examples[0])
    ### END HIDDEN TESTS


# %% nbgrader={"grade_id": "check_run_calibrated_quantized", "grade": true, "points": 5}
@probe
def run_on_grids(weights, x, *lists_of_grids, training=True):
    """The results on each list of grids, the first ones written into the same dicts, and the network at the end."""
    network = network_of(weights, training)
    quantizer, results = QuantizerForClassyClassifier(network), []
    entries = {name: {} for name in lists_of_grids[0]}
    for number, grids in enumerate(lists_of_grids):
        if number > 1:
            entries = {name: {} for name in grids}
        for name, (scalefactor, zeropoint) in grids.items():
            entries[name].update(input_scalefactor=scalefactor, input_zeropoint=zeropoint)
        quantizer.calibration_input_stats = entries
        other = QuantizerForClassyClassifier(network)  # another one beside it, on other grids
        other.calibration_input_stats = {
            name: {"input_scalefactor": 0.5, "input_zeropoint": 7} for name in quantizer.calibration_input_stats
        }
        other.run_calibrated_quantized(x[:1])
        results.append(quantizer.run_calibrated_quantized(x))
    return [*results, state_of(network)]


@probe
def run_in_same_storage(weights, grids, *images):
    """The results on several images that lie in the same storage one after the other, at once and at the end."""
    quantizer = QuantizerForClassyClassifier(network_of(weights))
    quantizer.calibration_input_stats = {
        name: {"input_scalefactor": scalefactor, "input_zeropoint": zeropoint}
        for name, (scalefactor, zeropoint) in grids.items()
    }
    return reused(quantizer.run_calibrated_quantized, [(image,) for image in images])


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
    ten = "the result is a float32 tensor with ten logits for each image"
    through = "go through all eight layers, flattening included"
    logits, look = expect_returns(lambda: run_on_grids(weights, x, grids), ten, given="two images", hint=through)
    hint = "which of your lines writes into the model, switches its mode, or leaves something on it?"
    expect_unchanged(state_of(network_of(weights)), look, "the model is not changed", hint=hint)
    look = run_on_grids(weights, x, grids, training=False)[1]
    expect_unchanged(state_of(network_of(weights, training=False)), look, "the model is not changed", hint=hint)
    expect(
        isinstance(logits, torch.Tensor) and logits.shape == (2, 10) and logits.dtype == torch.float32,
        ten,
        got=f"{getattr(logits, 'dtype', type(logits).__name__)}, shape {tuple(getattr(logits, 'shape', ()))}",
        hint=through,
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
    rule = "the grids are read from calibration_input_stats at every call"
    hint = "what is kept from an earlier call, and where?"
    first, finer, again, _ = run_on_grids(weights, x, grids, grids | {"output": (1 / 32, 200)}, grids)
    facts = (
        "the same network; before the second call other grids are written, before the third a new dict with the first"
    )
    expect_close([first, again], [logits, logits], rule, within=1e-5, given=facts, hint=hint)
    expected = torch.tensor([-4.5, -3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 55 / 32, 55 / 32, 55 / 32])
    facts = "the same network; before the second call another grid is written for output, 1/32 with zero point 200"
    expect_close(finer[0], expected, rule, within=1e-5, given=facts, hint=hint)
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
    usual = run_on_grids(weights, x, grids)[0]
    expect_close(
        usual,
        float_logits,
        "with grids that fit, the result is close to that of the float network",
        within=0.03,  # ten steps of the output's grid
        given="a network with random weights",
        hint="was a layer left out, or given the grid of another one? Is there a ReLU after layers 1, 3, 6 and 7?",
    )
    rule = "an image is quantized on the grid of layer1_conv, whatever its own range or that of its neighbours"
    hint = "calibration has chosen the grid beforehand: what do you still take from x?"
    before, bright = state_of(x), torch.cat([x[:1], 3 * x[1:2], 0.1 * x[2:]])
    together = run_on_grids(weights, bright, grids)[0]
    for place in range(3):
        alone = run_on_grids(weights, bright[place : place + 1], grids)[0]
        facts = f"three images of ranges 1, 3 and 0.1, number {place}, together and alone"
        expect_close(together[place : place + 1], alone, rule, within=1e-6, given=facts, hint=hint)
    cut = run_on_grids(weights, bright.clamp(-1, 1), grids)[0]
    rule = "values outside a range saturate, the image's too"
    facts = "images that leave the range [-1, 1] of layer1_conv, and the same ones cut to it"
    expect_close(together, cut, rule, within=1e-6, given=facts, hint="which of the given functions saturates?")
    backwards = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    results = [usual, run_on_grids(weights, backwards, grids)[0]]
    rule, hint = "how the images are stored does not matter", "which of your steps needs contiguous tensors?"
    expect_close(*results, rule, within=1e-6, given="colours last in memory (not contiguous)", hint=hint)
    hint = "methods that end in _ write into their tensor"
    expect_unchanged(before, state_of(x), "x itself is not changed", hint=hint)
    facts, rule = "263 images, the same three again and again", "every image of a batch has its logits, however many"
    many = run_on_grids(weights, x.repeat(88, 1, 1, 1)[:263], grids)[0]
    hint = "is there a step that depends on the number of images?"
    expect_close(many, usual.repeat(88, 1)[:263], rule, within=1e-6, given=facts, hint=hint)
    several = x[:2], -x[:2], x[1:]
    wanted = [run_on_grids(weights, image, grids)[0] for image in several]
    for results in run_in_same_storage(weights, grids, *several):
        facts = "the same tensor, with other images in it at the next call"
        own = "each call goes by its x as it is then, and its result is its own"
        expect_close(results, wanted, own, within=1e-6, given=facts, hint="what is kept between two calls?")
    astray = dict.fromkeys(("layer2_pool", "layer4_pool", "layer5_flat"), (0.37, 11))
    expect_close(
        run_on_grids(weights, x, grids | astray)[0],
        float_logits,
        "every layer's codes stand on the grid of the next layer with weights",
        within=0.03,  # as above
        given="the same network; the entries of pooling and flattening hold a grid that fits nothing",
        hint="pooling and flattening change no grid: their own entries are not needed here",
    )
    fewer = {name: grid for name, grid in grids.items() if name not in astray}
    rule, hint = "only the entries of layers with weights and of the output are needed", "whose grids do you look up?"
    facts = "calibration_input_stats has no entries of pooling and flattening"
    results = expect_returns(lambda: run_on_grids(weights, x, fewer), rule, given=facts, hint=hint)
    expect_close(results[0], float_logits, rule, within=0.03, given=facts, hint=hint)  # as above
    rule, hint = "an entry is found by its name", "the entry of which name comes after a layer with weights?"
    turned = run_on_grids(weights, x, dict(reversed(grids.items())))[0]
    expect_close(turned, usual, rule, within=1e-6, given="the same entries in another order", hint=hint)
    grids = dict.fromkeys((*LAYERS, "output"), (1 / 64, 128))
    for before_relu in ("layer1_conv", "layer3_conv", "layer6_fc", "layer7_fc"):
        network, behind = ClassyClassifier(), False
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.zero_()
            for layer_name, layer in network.named_children():
                if behind and hasattr(layer, "weight"):
                    layer.weight.fill_(1 / layer.weight[0].numel())
                if layer_name == before_relu:
                    layer.bias.copy_(torch.tensor([-1.0, 1.0]).repeat(len(layer.bias) // 2))
                    behind = True
        weights = {key: value.detach() for key, value in network.state_dict().items()}
        expect_close(
            run_on_grids(weights, x, grids)[0],
            torch.full((3, 10), 0.5),
            "ReLU on codes is max(q, zeropoint)",
            within=1 / 64,
            given=f"{before_relu} gives -1 and 1 in equal parts, all layers behind take the mean; zero points 128",
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
with torch.no_grad():  # small batches stay in the processor's cache
    right = torch.cat([model(x).argmax(1) for x in everything[0].split(50)]) == everything[1]
float_accuracy = float(right.float().mean())
quantized_accuracy = accuracy(quantizer.run_calibrated_quantized, *everything, batch_size=50)
print(f"\n{test_set.name}, {len(everything[0]):,} test images:")
print(f"float {float_accuracy:.4f}   on 8-bit codes {quantized_accuracy:.4f}")

# %% [markdown]
# Does the method matter? Write other ranges into your quantizer's `calibration_input_stats` and see. (From here on
# 1,000 test images, for speed: one standard error of an accuracy of 0.8 or 0.9 is about 0.01. All rows use the *same*
# images, so differences are more reliable than that.)


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
# their grid and back, and the layer itself runs in float.


# %% tags=["explore"]
import copy

simulated = copy.deepcopy(model).to(memory_format=torch.channels_last)  # pooling is quicker in this order
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
            return torch.cat([simulated(x).argmax(1) for x in images.split(100)]) == labels
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
# Which methods hold up best at 3 bits? Which order do they have at 8?
#
# <details><summary>Answer</summary>
#
# With few bits the methods that cut on purpose hold up best, for a wide range leaves too few steps where the values
# are. At 8 bits all but plain entropy lie within chance of each other: there is no order to read.
#
# </details>
#
# **How many images are enough?** The picture follows four choices for one layer as batches come in. The largest value
# can only grow, in jumps, whenever a stranger image comes. Do the others settle, and after how many batches?
#
# <details><summary>Answer</summary>
#
# Yes: an average, a percentile and a least sum hardly move after ten batches or so, because no single image has much
# weight in them. The largest value never settles.
#
# </details>

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
# **Purdue.** The assignment's figures, and yours. The networks were trained differently, and with generated images the
# data differ, too: compare the *change*. Nobody should read 0.002 as "quantization improves accuracy": it means a net
# 20 images of 10,000, with more than those fallen on the other side of a border in both directions.

# %% tags=["explore"]
print("                                   float    8 bits   change")
print(f"Purdue, CIFAR-10, 10,000 images    0.6870   0.6890   {0.689 - 0.687:+.4f}")
change = quantized_accuracy - float_accuracy
where = f"yours, {test_set.name}, {len(everything[0]):,} images"
print(f"{where:33s}  {float_accuracy:.4f}   {quantized_accuracy:.4f}   {change:+.4f}")

# %% [markdown]
# **TensorRT.** NVIDIA's top-1 accuracy on ImageNet with entropy calibration on 5, 10 and 50 batches, and yours with
# three methods, on all test images. The range behind each of your differences is one standard error of that difference.
#
# <details><summary>For the curious: how these figures were calculated</summary>
#
# NVIDIA's differences are calculated again (some of the printed ones are off by 0.01, because they were taken before
# rounding). If $d$ of $N$ images were right before and wrong after, or the other way round, the standard error of the
# difference is about $\sqrt{d}/N$.
#
# </details>

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
# More batches help no network reliably: 5 are about as good as 50. Plain entropy on your network is another matter.
#
# <details><summary>For the curious: why NVIDIA did not see this</summary>
#
# We can only guess: their published table shows results of a product, not of the pseudocode in the talk, and networks
# differ in how many zeros ReLU leaves. NVIDIA's own toolkit for PyTorch, `pytorch-quantization`, takes the spike out in
# its entropy calibration. (A batch of yours has 50 images; the lecture does not say how many one of NVIDIA's had.)
#
# </details>
#
# **onnxruntime.** "Entropy calibration" is not one method. The same activations, two programs:
#
# <details><summary>For the curious: what onnxruntime does differently</summary>
#
# It looks at signed values, spreads a level's count over *all* its bins, whole counts only, and adds a little to empty
# bins; by default it uses 128 bins for its 128 levels, which leaves it one candidate: the whole range. The course has
# a copy of its rule, tested to give the same ranges as onnxruntime 1.31 itself.
#
# </details>

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
# - Activations have no range until data flows. Calibration runs the float network on typical inputs and freezes a grid
#   for the input of each layer.
# - A wide range rounds coarsely, a narrow one cuts. The best range depends on the number of bits: more bits, wider.
# - Min and max follow the outliers. Percentiles ignore a fixed share. Least squares weighs both errors. Entropy
#   compares shapes, and is misled by the spike of zeros behind a ReLU unless that is taken out.
# - At 8 bits all sensible choices are about equally good; with few bits the choice decides. A few batches are enough.
# - ReLU on codes is $\max(q, Z)$, pooling on codes is pooling, and each layer speaks the grid of the next.
#
# Three questions to finish. A few sentences each, with numbers where you can.

# %% [markdown]
# ### Question 1 (2 points): averaging minima and maxima
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
# ### Question 2 (2 points): the spike
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
# ### Question 3 (2 points): ReLU on codes
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
