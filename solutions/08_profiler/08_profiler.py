# ---
# jupyter:
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
#   course:
#     title: Which layer hurts?
#     minutes: 170
#     check_seconds: 10
#     withhold:
#       - course_utils.profiler
#       - course_utils.quantization.integer_layers
#       - course_utils.quantization.tflite_kernels
#       - course_utils.numerics.affine.sqnr_db
# ---

# %% [markdown]
# # Which layer hurts?
#
# **Goal.** A network got worse in 8 bits. Which of its fifty layers is to blame, and is it worth paying for more bits
# there? You write the heart of a profiler: replace chosen layers, compute in whole numbers, measure the noise behind
# every layer, rank. Then you repeat a thesis' experiments, and find out which of its conclusions hold.
# **Time:** almost three hours. You need Python, a little torch, and what a zero point is.
#
# include: how_to_work.md
#
# Refused here: `course_utils.profiler`, whose core you write, and the whole-number layers of
# `course_utils.quantization`. Cells marked *Explore* use them all the same: they are not graded.
#
# <details><summary>Sources</summary>
#
# "The thesis": M. Lindström and J. Hök, *Quantization Profiler for Artificial Neural Networks* (Lund University, 2020).
# Its tool, QPANN, is for TensorFlow and replaces layers of MobileNetV2. "Its paper" is D. Lin, S. Talathi and
# S. Annapureddy, *Fixed Point Quantization of Deep Convolutional Networks* (2016), from which the thesis has the ratio
# of signal to noise.
#
# </details>

# %%
import copy
import itertools
import math
import re
from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import fx, nn

from course_utils.checks import *
from course_utils.networks import Wired, draw_paths, lived_in
from course_utils.pictures import COLOURS, use_course_style

use_course_style()
torch.set_num_threads(1)  # most tensors here are small: a second thread would cost more than it gains

ONE = 2**31


def whole_factor(m):
    """A real factor as a whole number of 2^-31: what stands in for m where there is no floating point."""
    return round(m * ONE)


KINDS = ("conv", "depthwise", "linear")


def kind_of(layer):
    """One of KINDS, or None for any other layer."""
    if isinstance(layer, nn.Conv2d):
        return "depthwise" if layer.groups == layer.in_channels > 1 else "conv"
    return "linear" if isinstance(layer, nn.Linear) else None


def network_of(layers, program, seed):
    """A network in float64 whose weights are drawn from the seed, with somebody's hooks and gradients on it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return lived_in(Wired(layers, program).double().eval(), seed)


class Less(nn.Module):
    """What make returns here: the layer, the ReLU if there is one, and then a number taken off."""

    def __init__(self, layer, relu, number):
        super().__init__()
        self.layer, self.relu, self.number = layer, relu, number

    def forward(self, x):
        x = self.layer(x)
        return (x if self.relu is None else self.relu(x)) - self.number


# %% [markdown]
# ## Idea
#
# Take a trained network, the **reference**. Make a copy in which some layers are replaced: such a layer quantizes its
# input, computes in whole numbers, and gives real numbers back (the thesis, 4.2). This is the **recreated** network.
# Between two replaced layers nothing is lost on the way through real numbers, for the code of a code's value is that
# code. Run both on the same images, and compare them behind *every* layer, not only at the end.
#
# For one activation $i$ of a layer, over all images $n$, the **signal** is what the reference has there and the
# **noise** how far the recreated network is from it (equations 4.1 and 4.2):
#
# $$
# \lambda_i = \sum_n \big(a^{\text{ref}}_{ni}\big)^2, \qquad
# \mu_i = \sum_n \big(a^{\text{ref}}_{ni} - a^{\text{rep}}_{ni}\big)^2 .
# $$
#
# Their quotient, in decibels, is the **signal-to-quantization-noise ratio**, SQNR: 20 dB mean that the noise has a
# hundredth of the signal's power, and one bit more is worth 6 dB. The next cell lets the finished tool do it, for a
# MobileNetV2 with its 35 convolutions that are not depthwise in 8 bits, node by node: above the SQNR, below by how much
# it differs from that of the node's input. Where does it fall, and where does it *rise*?
#
# <details><summary>Answer</summary>
#
# It falls at the convolutions in 8 bits, most at the last one of a block, behind which no ReLU6 follows; and behind a
# steep rise. It rises where numbers are added up in float32 (all additions of two branches, the mean over all
# positions, most depthwise convolutions): the noises of the summands partly cancel, the signals do not. And it rises,
# more than anywhere else, behind some batch norms. That is a puzzle, which the end of the lab comes back to.
#
# </details>

# %% tags=["explore"]
from course_utils import profiler
from course_utils.data import classification_data
from course_utils.networks import load_trained, normalize

test_set, train_set = classification_data(train=False), classification_data(train=True)
print(test_set.note)
mobilenet = load_trained(f"mobilenetv2-{test_set.name}")
images, labels = normalize(test_set.images[:200]), test_set.labels[:200]
drawn = torch.randperm(len(train_set.images), generator=torch.Generator().manual_seed(0))[:100]
calibration = normalize(train_set.images[drawn])  # the thesis' 100 samples
print({kind: len(names) for kind, names in profiler.layers_of(mobilenet).items()})
observers = {}  # what calibration has seen of the activations: the same for all settings


def experiment(*choices):
    """The tool on the MobileNetV2: layers as they are chosen, the rest in float."""
    settings = profiler.Configuration("mobilenetv2", choices, fully_quantized=False)
    return profiler.run_on(mobilenet, images, labels, calibration, settings, observers=observers)


runs = {"A": experiment(profiler.Choice("conv"))}
nodes = runs["A"].layers()
figure, axes = plt.subplots(2, 1, figsize=(9.5, 5), sharex=True)
changes_at = [math.nan if node.change is None else node.change for node in nodes]
for ax, values, label in zip(axes, ([n.sqnr for n in nodes], changes_at), ("SQNR (dB)", "change (dB)"), strict=True):
    ax.plot(values, color=COLOURS["blue"], linewidth=1)
    for replaced, marker, colour in ((True, "D", "vermillion"), (False, "o", "blue")):
        at = [n for n, node in enumerate(nodes) if bool(node.layer) == replaced]
        told = "convolution in 8 bits" if replaced else "as in the reference"
        ax.plot(at, [values[n] for n in at], marker, color=COLOURS[colour], markersize=5, label=told)
    ax.set_ylabel(label)
axes[1].axhline(0, color="0.4", linewidth=1)
axes[1].set_xlabel("node, in the network's order")
axes[0].legend()
axes[0].set_title("Setting A: the MobileNetV2's 35 convolutions in 8 bits, the depthwise ones in float")
plt.show()

# %% [markdown]
# ## Exercise 1: signal and noise
#
# Write the recorder. The two networks hand over their outputs batch by batch, and the number of images may be large:
# what you keep must not grow with it. For each activation that is two numbers, $\lambda_i$ and $\mu_i$.
#
# The thesis takes the **mean of ratios** over the $N$ activations of a layer (equation 4.3):
#
# $$
# \text{SQNR} = 10 \log_{10}\Big( \frac{1}{N} \sum_i \frac{\lambda_i}{\mu_i} \Big) .
# $$
#
# This is infinite as soon as *one* activation has no error at all, and behind a ReLU there may be many that are 0 in
# both networks. So we define: activations with $\mu_i = 0$ are left out, $N$ counts the others, and how many were left
# out is told. Beside it stands the **ratio of sums** over *all* activations, which has no such trouble:
# $10 \log_{10} ( \sum_i \lambda_i / \sum_i \mu_i )$.
#
# By hand: three activations and two images; the reference has (2, 1, 5) and (4, 3, 5), the recreated network (1, 1, 4)
# and (5, 3, 5). So $\lambda = (20, 10, 50)$ and $\mu = (2, 0, 1)$. The ratios are 10 and 50, their mean is 30:
# 14.77 dB, one activation left out. The sums give $80/3$: 14.26 dB.


# %% nbgrader={"grade_id": "sqnr_per_layer", "solution": true}
def sqnr_per_layer(reference, noisy):
    """The signal-to-noise ratio of each layer's output, over all samples of all batches.

    Args:
        reference, noisy: iterables of batches, as two networks compute them. Each gives, batch by batch, a dict: name
            of a layer -> its output, a tensor (batch, ...) of any float dtype; both have the same layers in every
            batch. What an iterable hands over may be written over as soon as its next batch is asked for: ask each for
            one batch, use both, then ask for the next. Nothing that is handed over is changed.

    Returns:
        dict: name -> (mean of ratios, ratio of sums, left out), in the order of the reference's first batch: two
        Python floats in dB and an int, calculated in float64. Both ratios are math.inf if no activation has any error.
        A ratio is -math.inf if there are errors and its own signal is 0: for the ratio of sums that of all activations,
        for the mean of ratios that of those with an error. Without any batch the dict is empty.

    Raises:
        ValueError: if the two tensors of a layer differ in shape, or one of the two iterables has more batches.
    """
    ### BEGIN SOLUTION
    sums = {}
    for signals, copies in zip(reference, noisy, strict=True):
        for name, signal in signals.items():
            if signal.shape != copies[name].shape:
                raise ValueError(f"{name}: the shapes {tuple(signal.shape)} and {tuple(copies[name].shape)} differ")
            signal = signal.detach().double()
            noise = (signal - copies[name].detach().double()).square().sum(0)
            before = sums.get(name, (0, 0))
            sums[name] = before[0] + signal.square().sum(0), before[1] + noise

    def decibels(ratio):
        return 10 * math.log10(ratio) if ratio > 0 else -math.inf

    result = {}
    for name, (signal, noise) in sums.items():
        used = noise > 0
        if not used.any():
            result[name] = math.inf, math.inf, noise.numel()
            continue
        mean = decibels(float((signal[used] / noise[used]).mean()))
        result[name] = mean, decibels(float(signal.sum() / noise.sum())), int((~used).sum())
    return result
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_sqnr_per_layer", "grade": true, "points": 4}
with check("sqnr_per_layer"):

    @probe
    def measured(reference, noisy):
        """The answer's result for batches that all lie in the same storage, and what was in it when it asked on."""
        read = [[], []]

        def batches(given, side):
            storage = {name: value.clone() for name, value in given[0].items()} if given else {}
            for batch in given:
                handed = {name: storage[name][: len(value)].copy_(value) for name, value in batch.items()}
                yield handed
                read[side].append({name: value.clone() for name, value in handed.items()})

        result = sqnr_per_layer(batches(reference, 0), batches(noisy, 1))
        return type(result).__name__, [[name, *values] for name, values in result.items()], read

    by_hand = "mean of ratios: lambda / mu of each activation over all samples, their mean, then decibels"
    left_out = "activations without any error are left out of the mean of ratios, and counted"
    of_sums = "ratio of sums: the sum of all lambda over the sum of all mu"
    all_batches = "the sums go over all batches, each of which may lie where the last one lay, and be shorter"
    infinite = "without any error both ratios are infinite; with errors and no signal they are -infinity"
    exact = "all is calculated in float64"
    shapes = "outputs have any number of dimensions after the batch, and each layer has its own sums"
    hints = {
        by_hand: "which comes first: the sum over samples, the quotient, the mean, the logarithm?",
        left_out: "by how many do you divide? A NaN or inf in a mean takes the rest along",
        of_sums: "no mean of anything, and nothing is left out of it",
        all_batches: "add up lambda and mu themselves, no means of them; which line keeps a tensor, or reads ahead?",
        infinite: "look before you divide, and before you take a logarithm",
        exact: "convert before you subtract and square: 300 squared is infinite in float16",
        shapes: "only the first dimension is summed over",
    }

    def try_sqnr(rule, facts, reference, noisy, expected):
        """Batches against {name: (mean of ratios, ratio of sums, left out)}."""
        kind, rows, read = expect_returns(lambda: measured(reference, noisy), rule, given=facts, hint=hints[rule])
        expect_equal(kind, "dict", "the result is a dict", given=facts)
        names = [row[0] for row in rows]
        expect_equal(
            names, list(expected), "the dict has an entry for each layer, in the first batch's order", given=facts
        )
        for name, *values in rows:
            told = "each value is a tuple of two Python floats and an int"
            expect(len(values) == 3, told, given=facts, got=values)
            for value, wanted in zip(values, (float, float, int), strict=True):
                expect_type(value, wanted, told, given=facts, hint="float() and int() make numbers of tensors")
            given, (mean, sums, count) = f"{facts}; {name}", expected[name]
            of = left_out if rule in (by_hand, of_sums) else rule
            expect_equal(values[2], count, of, given=f"{given}, left out", hint=hints[of])
            if all(math.isclose(v, w, rel_tol=1e-5) for v, w in zip(values, (mean, sums, count), strict=True)):
                rule = exact  # so near that only rounding can be at fault
            # sums of up to 10^5 squares, each good to 2^-53: far less than 1e-9 dB
            expect_close(values[0], mean, rule, within=1e-9, given=f"{given}, mean of ratios", hint=hints[rule])
            of = of_sums if rule in (by_hand, left_out) else rule
            expect_close(values[1], sums, of, within=1e-9, given=f"{given}, ratio of sums", hint=hints[of])
        for side, batches in zip(read, (reference, noisy), strict=True):
            what = "nothing that is handed over is changed"
            expect_equal(side, batches[: len(side)], what, given=facts, hint="-= and square_ write into their tensor")

    def db(ratio):
        return 10 * math.log10(ratio)

    def batches_of(*rows, dtype=torch.float32):
        """One layer "a": a batch of each list of rows."""
        return [{"a": torch.tensor(values, dtype=dtype)} for values in rows]

    sides = batches_of([[3, 100]]), batches_of([[2, 102]])
    try_sqnr(by_hand, "(3, 100) and (2, 102)", *sides, {"a": (db((9 + 2500) / 2), db(10009 / 5), 0)})
    sides = batches_of([[1, 4]]), batches_of([[3, 12]])
    try_sqnr(by_hand, "(1, 4) and (3, 12): more noise than signal", *sides, {"a": (db(1 / 4), db(1 / 4), 0)})
    signal, copied = [[1, 10], [2, 20], [3, 20]], [[2, 11], [3, 21], [5, 20]]
    facts, wanted = f"{signal} and {copied}", {"a": (db((14 / 6 + 900 / 2) / 2), db(914 / 8), 0)}
    try_sqnr(by_hand, facts, batches_of(signal), batches_of(copied), wanted)
    sides = batches_of(signal[:2], signal[2:]), batches_of(copied[:2], copied[2:])
    try_sqnr(all_batches, f"{facts}, in batches of 2 and 1", *sides, wanted)
    sides = [batches_of(*([row] for row in rows)) for rows in (signal, copied)]
    try_sqnr(all_batches, f"{facts}, in three batches", *sides, wanted)
    facts, wanted = "(2, 1, 5), (4, 3, 5) and (1, 1, 4), (5, 3, 5)", {"a": (db(30), db(80 / 3), 1)}
    sides = batches_of([[2, 1, 5], [4, 3, 5]]), batches_of([[1, 1, 4], [5, 3, 5]])
    try_sqnr(left_out, f"the example, {facts}, in one batch", *sides, wanted)
    sides = batches_of([[2, 1, 5]], [[4, 3, 5]]), batches_of([[1, 1, 4]], [[5, 3, 5]])
    try_sqnr(all_batches, f"the example, {facts}, in two batches", *sides, wanted)
    for signal, copied, wanted in (
        ([1, 10], [1, 10], (math.inf, math.inf, 2)),
        ([0, 0], [0, 0], (math.inf, math.inf, 2)),
        ([0, 0], [1, 1], (-math.inf, -math.inf, 0)),
        ([0, 3], [1, 3], (-math.inf, db(9), 1)),
        ([0, 3], [1, 2], (db(4.5), db(4.5), 0)),
    ):
        try_sqnr(infinite, f"{signal} and {copied}", batches_of([signal]), batches_of([copied]), {"a": wanted})
    try_sqnr(all_batches, "no batch", [], [], {})
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        sides = batches_of([[304, 2]], [[300, 1]], dtype=dtype), batches_of([[302, 1]], [[300, 2]], dtype=dtype)
        power = 304**2 + 300**2
        wanted = {"a": (db((power / 4 + 5 / 2) / 2), db((power + 5) / 6), 0)}
        try_sqnr(exact, f"{dtype}: (304, 2), (300, 1) and (302, 1), (300, 2)", *sides, wanted)
    sides = batches_of([[2.0**30]], dtype=torch.float64), batches_of([[2.0**30 - 1]], dtype=torch.float64)
    try_sqnr(exact, "float64: 2^30 and 2^30 - 1", *sides, {"a": (db(2.0**60), db(2.0**60), 0)})
    facts, wanted = "(2^-40, 2^-30) and (2^-41, 2^-31): no error is too small", {"a": (db(4), db(4), 0)}
    try_sqnr(by_hand, facts, batches_of([[2**-40, 2**-30]]), batches_of([[2**-41, 2**-31]]), wanted)
    g = generator()

    def drawn(shape_of, sizes, dtype=torch.float32, scale=1.0):
        """Batches of several layers, and what must come of them."""
        reference, noisy = [], []
        for size in sizes:
            signal = {
                n: (torch.randn(size, *shape, generator=g).double() * scale).to(dtype) for n, shape in shape_of.items()
            }
            copied = {
                n: (x.double() + torch.randn(x.shape, generator=g) * 0.1 * scale).to(dtype) for n, x in signal.items()
            }
            for name, x in copied.items():
                if x.dim() > 1 and x.shape[1] > 1:
                    x[:, 0] = signal[name][:, 0]  # activations without an error
            reference.append(signal)
            noisy.append(copied)
        wanted = {}
        for name in shape_of:
            a, b = (np.concatenate([batch[name].double().numpy() for batch in side]) for side in (reference, noisy))
            power, error = (np.einsum("ni,ni->i", v, v) for v in (x.reshape(len(x), -1) for x in (a, b - a)))
            some = error > 0
            wanted[name] = db(np.mean(power[some] / error[some])), db(power.sum() / error.sum()), int((~some).sum())
        return reference, noisy, wanted

    reference, noisy, wanted = drawn({"conv": (4, 3, 5), "flat": (7,), "score": ()}, (5, 5, 2))
    facts = "three layers, (batch, 4, 3, 5), (batch, 7) and (batch,), in batches of 5, 5 and 2"
    try_sqnr(shapes, facts, reference, noisy, wanted)
    turned = [
        [{n: x.transpose(0, -1).contiguous().transpose(0, -1) for n, x in batch.items()} for batch in side]
        for side in (reference, noisy)
    ]
    try_sqnr(shapes, f"{facts}, not contiguous", *turned, wanted)
    try_sqnr(shapes, "layers b, a and c, in batches of 3 and 1", *drawn({"b": (2,), "a": (3,), "c": (1,)}, (3, 1)))
    differ = "two tensors of other shapes are refused with a ValueError"
    for first, second in (((2, 3), (2, 1)), ((2, 3), (1, 3)), ((2, 3), (2, 3, 1)), ((2, 1), (2, 3)), ((1, 4), (4,))):
        given, hint = (
            f"shapes {first} and {second}",
            "torch stretches dimensions of size 1: compare the shapes yourself",
        )
        sides = [{"a": torch.ones(first)}], [{"a": torch.zeros(second)}]
        expect_raises(ValueError, lambda sides=sides: measured(*sides), differ, given=given, hint=hint)
    more = "two different numbers of batches are refused with a ValueError"
    reference, noisy, _ = drawn({"a": (2,)}, (2, 2, 2))
    for first, second in ((3, 2), (2, 3), (0, 1), (1, 0)):
        sides, hint = (reference[:first], noisy[:second]), "what does zip do when one side ends first, if nobody asks?"
        expect_raises(ValueError, lambda sides=sides: measured(*sides), more, given=f"{first} and {second}", hint=hint)
    ### BEGIN HIDDEN TESTS
    for sizes in ((1,), (3, 3, 3, 1), (8, 2)):
        for dtype, scale in ((torch.float16, 300.0), (torch.float32, 1.0), (torch.float64, 1e-20)):
            rule = exact if scale != 1 else all_batches
            try_sqnr(rule, f"{dtype}, batches of {sizes}", *drawn({"x": (6, 2), "y": (5,)}, sizes, dtype, scale))
    try_sqnr(shapes, "one layer of (16, 8, 8), batches of 20 and 4", *drawn({"z": (16, 8, 8)}, (20, 4)))
    for first, second in (((3, 4), (1, 4)), ((3, 4), (3, 1))):
        sides = [{"a": torch.ones(first)}], [{"a": torch.zeros(second)}]
        expect_raises(ValueError, lambda sides=sides: measured(*sides), differ, given=f"{first} and {second}")
    ### END HIDDEN TESTS

# %% [markdown]
# **Explore: which activations rule the mean.** The picture shows how the ratios of one layer of the MobileNetV2 above
# are distributed, and where the two averages lie. Before you run it: the mean of ratios lies above the ratio of sums in
# most layers. Why?
#
# <details><summary>Answer</summary>
#
# A mean of quotients is ruled by the largest ones, here the thin tail at the right: one activation of 45 dB counts as
# much as thirty of 30 dB, although it has hardly any noise. In the ratio of sums every activation weighs as much as its
# noise. (Those without any error are often behind a ReLU: always 0 in both networks.)
#
# </details>

# %% tags=["explore"]
from course_utils.profiler.recreation import Watch


def outputs(graph, called, batches):
    """What a graph's nodes give, batch by batch: {name: output}, where `called` says how a node is called here."""
    for batch in batches:
        seen = {}
        with torch.no_grad():
            Watch(
                graph, lambda node, value, seen=seen: seen.update({called[node]: value} if node in called else {})
            ).run(batch)
        yield seen


made = runs["A"].recreation
node = next(name for name in made.stands_for.values() if name.startswith("features_3_conv_1_1"))
inside = {new: old for new, old in made.stands_for.items() if old == node}
pair = [
    list(outputs(graph, names, images.split(100)))
    for graph, names in ((made.reference, {node: node}), (made.recreated, inside))
]
signal, noise = (
    sum((a[node] - b).double().square().sum(0) for a, b in zip(pair[0], others, strict=True))
    for others in ([0] * 2, [p[node] for p in pair[1]])
)
mean, sums, left_out = sqnr_per_layer(*pair)[node]
ratios = 10 * torch.log10((signal / noise)[(noise > 0) & (signal > 0)])
plt.figure(figsize=(8, 3.2))
plt.hist(ratios.flatten().numpy(), bins=80, color=COLOURS["sky"])
for value, label, style in ((mean, "mean of ratios", "-"), (sums, "ratio of sums", "--")):
    plt.axvline(value, color=COLOURS["vermillion"], linestyle=style, label=f"{label}: {value:.1f} dB")
plt.xlabel("ratio of one activation (dB)")
plt.ylabel("activations")
plt.title(f"{node}: {noise.numel():,} activations, {left_out} without error")
plt.legend()
plt.show()

# %% [markdown]
# ## Exercise 2: ReLU6 costs nothing
#
# MobileNet's activation function is $\text{ReLU6}(x) = \min(\max(x, 0), 6)$. Behind a whole-number layer it needs no
# code of its own (the thesis, 2.3.4). Choose the range $[0, 6]$ for the layer's output: zero point 0, scale
# $6/(2^n - 1)$. Then the clamp that every output goes through anyway, to the codes $0 \dots 2^n - 1$, *is* the ReLU6.
#
# A whole-number layer hands over accumulators: whole numbers that stand for `acc_scale * acc`. They are rescaled by
# $m = \text{acc\_scale} / \text{scalefactor}$, without floating point:
#
# $$ q = \text{clamp}\Big( \Big\lfloor \frac{M \cdot acc}{2^{31}} + \frac12 \Big\rfloor,\; 0,\; 2^n - 1 \Big), \qquad
# M = \operatorname{round}(2^{31} m) . $$
#
# $M$ comes from the given `whole_factor`; the sum with half of $2^{31}$ and a shift by 31 bits do the rest, in 64 bits.


# %% nbgrader={"grade_id": "fold_relu6", "solution": true}
def fold_relu6(acc, acc_scale, num_bits=8):
    """The codes of ReLU6 of a layer's output, and their grid, in whole numbers.

    Args:
        acc: int32 or int64 tensor of any shape, of whole numbers within 32 bits: accumulators, which stand for the real
            numbers acc_scale * acc. It is not changed.
        acc_scale: positive float, no more than 6 / (2^num_bits - 1).
        num_bits: whole number from 2 to 16, of the grid.

    Returns:
        A tuple (q, scalefactor, zeropoint): the grid of [0, 6], whose codes are 0 .. 2^num_bits - 1, as a Python float
        and the int 0; and q, an int64 tensor of acc's shape: acc times whole_factor(acc_scale / scalefactor), divided
        by 2^31 and rounded once, to nearest, halves up; in whole numbers; then clamped to the codes.
    """
    ### BEGIN SOLUTION
    highest = 2**num_bits - 1
    scalefactor = 6 / highest
    q = (acc.long() * whole_factor(acc_scale / scalefactor) + ONE // 2) >> 31
    return q.clamp(0, highest), scalefactor, 0
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_fold_relu6", "grade": true, "points": 2}
with check("fold_relu6"):
    grid = "the grid is that of [0, 6]: scale 6 / (2^num_bits - 1), zero point 0"
    codes = "q is acc times the factor, rounded to nearest, halves up, and clamped to 0 .. 2^num_bits - 1"
    wide = "accumulators have up to 32 bits, and their product with the factor needs 64"
    hints = {
        grid: "which code stands for 6, which for 0?",
        codes: "the shift rounds down; what must be added before? And between which codes does the clamp leave you?",
        wide: "which dtype has the product?",
    }

    def try_fold(rule, facts, acc, acc_scale, num_bits=8):
        """Against exact fractions."""
        before, values = state_of(acc), acc.flatten().tolist()
        result = expect_returns(lambda: fold_relu6(acc, acc_scale, num_bits), rule, given=facts, hint=hints[rule])
        hint = "methods that end in _, += and *= write into their tensor"
        expect_unchanged(before, state_of(acc), "acc is not changed", hint=hint)
        triple = "the result is a tuple (q, scalefactor, zeropoint): an int64 tensor of acc's shape, a float and an int"
        expect(isinstance(result, tuple) and len(result) == 3, triple, given=facts, got=result)
        q, scalefactor, zeropoint = result
        expect_type(scalefactor, float, triple, given=facts)
        expect_type(zeropoint, int, triple, given=facts)
        highest = 2**num_bits - 1
        expect_close(scalefactor, 6 / highest, grid, within=1e-15, given=facts, hint=hints[grid])
        expect_equal(zeropoint, 0, grid, given=facts, hint=hints[grid])
        expect_type(q, torch.int64, triple, shape=acc.shape, given=facts, hint="a code of 16 bits fits no int8")
        half, m = Fraction(1, 2), Fraction(whole_factor(acc_scale / (6 / highest)), ONE)
        wanted = [min(max(math.floor(m * a + half), 0), highest) for a in values]
        expect_equal(
            q, torch.tensor(wanted).reshape(acc.shape), rule, given=acc if acc.dim() else facts, hint=hints[rule]
        )

    step = 6 / 255
    x = torch.tensor([-300, -1, 0, 1, 2, 3, 5, 100, 509, 510, 511, 512, 600])
    try_fold(codes, "acc_scale half a step of the grid", x, step / 2)
    try_fold(codes, "acc_scale a quarter of a step", x, step / 4)
    try_fold(codes, "acc_scale a step", x, step)
    for dtype in (torch.int32, torch.int64):
        values = torch.tensor([-(2**31), -70_000, -3, 0, 3, 70_000, 2_000_001, 2**31 - 1], dtype=dtype)
        for scale in (6 / 255, 1e-3, 2.7e-6):
            try_fold(wide, f"{dtype}, acc_scale {scale}", values, scale)
    for num_bits in (2, 3, 4, 7, 9, 12, 16):
        values = torch.arange(-40, 900) * 2**num_bits // 64
        try_fold(codes, f"num_bits {num_bits}, acc_scale 0.3 of a step", values, 0.3 * 6 / (2**num_bits - 1), num_bits)
    for form, values in forms(torch.arange(-20, 40).reshape(2, 5, 6) * 11, (torch.int32, torch.int64)):
        try_fold(codes, f"{form}, acc_scale 0.01", values, 0.01)
    own, hint = "each call goes by the numbers as they are then", "what is kept between two calls?"
    for results in reused(fold_relu6, [(x, step), (x * 3, step), (x, step / 4)]):
        wanted = [x.clamp(0, 255), (x * 3).clamp(0, 255), ((x + 2) // 4).clamp(0, 255)]
        expect_equal([result[0] for result in results], wanted, own, given="the same tensor, other numbers", hint=hint)
    ### BEGIN HIDDEN TESTS
    g = generator()
    for num_bits in (2, 5, 8, 11, 16):
        scale = float(torch.rand((), generator=g)) * 6 / (2**num_bits - 1)
        spread = 8 / scale
        values = (torch.randn(200, generator=g) * spread).clamp(-(2.0**30), 2.0**30).long()
        try_fold(codes, f"200 accumulators, num_bits {num_bits}, acc_scale {scale:.6g}", values, scale, num_bits)
        try_fold(wide, f"200 int32 accumulators, num_bits {num_bits}", values.int(), scale, num_bits)
    ### END HIDDEN TESTS

# %% [markdown]
# **Explore: the staircase.** ReLU6 and its folded form, at 3 bits as in the thesis' figure 2.9, by your function. What
# is lost, apart from the steps?
#
# <details><summary>Answer</summary>
#
# Nothing: below 0 and above 6 both are flat, and 0 and 6 themselves are on the grid. This is why networks for phones
# have a ReLU that ends: the range is known before the first image comes.
#
# </details>

# %% tags=["explore"]
acc = torch.arange(-200, 800)
q, scalefactor, zeropoint = fold_relu6(acc, 0.01, 3)
plt.figure(figsize=(6.5, 3))
plt.plot(acc * 0.01, (acc * 0.01).clamp(0, 6), "--", color=COLOURS["blue"], label="ReLU6")
plt.plot(acc * 0.01, scalefactor * (q - zeropoint), color=COLOURS["vermillion"], label="folded, 3 bits")
plt.xlabel("output of the layer")
plt.ylabel("activation")
plt.title("ReLU6 and the clamp of the grid of [0, 6]")
plt.legend()
plt.show()

# %% [markdown]
# ## Exercise 3: an addition on three grids
#
# In MobileNetV2 the input of a block is added to its output. In whole numbers the two summands come on two grids, and
# the sum needs a third. From $s_y (y - z_y) = s_a (a - z_a) + s_b (b - z_b)$ follows
#
# $$
# y = z_y + \operatorname{round}\Big( \frac{M_a (a - z_a) + M_b (b - z_b)}{2^{31}} \Big), \qquad
# M_a = \operatorname{round}\Big(2^{31}\, \frac{s_a}{s_y}\Big), \quad M_b \text{ likewise}.
# $$
#
# **One** rounding, at the end: who rounds each summand first loses up to a whole code. `rounding_div=False` is the
# thesis' cheaper division that drops the remainder (4.3.1): a shift, which rounds down. Codes are 0 to 255, as
# everywhere in this course; the thesis and the tool count them from -128, with zero points 128 less.


# %% nbgrader={"grade_id": "quantized_add", "solution": true}
class QuantizedAdd:
    """The sum of two tensors of 8-bit codes, in whole numbers: two input grids, one output grid."""

    def __init__(self, a_grid, b_grid, out_grid, rounding_div=True):
        """
        Args:
            a_grid, b_grid, out_grid: a tuple (scalefactor, zeropoint) each: a positive float, and an int from 0 to 255.
                A scalefactor of an input is at most 256 times the output's.
            rounding_div: whether the division by 2^31 rounds to nearest, halves up; if not, it rounds down.
        """
        ### BEGIN SOLUTION
        self.grids = [(whole_factor(scale / out_grid[0]), zeropoint) for scale, zeropoint in (a_grid, b_grid)]
        self.out_zeropoint, self.rounding_div = out_grid[1], rounding_div
        ### END SOLUTION

    def run(self, a, b):
        """
        Args:
            a, b: uint8 tensors of one shape (any), codes of a_grid and of b_grid. They are not changed.

        Returns:
            A new uint8 tensor of that shape, codes of out_grid: the two factors, whole_factor(input scalefactor /
            output scalefactor), times the codes less their zeropoints; the sum of both divided by 2^31, rounded once;
            then out_zeropoint is added; then what lies outside 0 .. 255 becomes 0 or 255. All in whole numbers.

        Raises:
            ValueError: if the shapes differ.
        """
        ### BEGIN SOLUTION
        if a.shape != b.shape:
            raise ValueError(f"the shapes {tuple(a.shape)} and {tuple(b.shape)} differ")
        total = torch.full(a.shape, ONE // 2 if self.rounding_div else 0)
        for codes, (factor, zeropoint) in zip((a, b), self.grids, strict=True):
            total += (codes.long() - zeropoint) * factor
        return ((total >> 31) + self.out_zeropoint).clamp(0, 255).byte()
        ### END SOLUTION


# %% nbgrader={"grade_id": "check_quantized_add", "grade": true, "points": 3}
with check("quantized_add"):

    @probe
    def added(grids, options, pairs):
        """Sums by one object: of each pair anew and in the same storage, while another object is used between."""
        made = QuantizedAdd(*grids, **options)
        other = QuantizedAdd(*[(1.0, 100)] * 3, rounding_div=not options.get("rounding_div", True))

        def run(a, b):
            other.run(torch.zeros_like(a), torch.zeros_like(a))
            return made.run(a, b)

        copies = [[codes.clone() for codes in pair] for pair in pairs]
        return [made.run(*pair).clone() for pair in copies], copies, *reused(run, pairs)

    formula = "the code is out_zeropoint plus the sum of both factors times (code - zeropoint), divided by 2^31"
    once = "it is rounded once, after the sum, to nearest, halves up"
    down = "without rounding_div the division rounds down, below zero, too"
    clamped = "what lies outside 0 .. 255 becomes 0 or 255"
    own = "every object goes by its own grids, and every call by its own codes"
    hints = {
        formula: "which zeropoint is taken off which code, and in which dtype? uint8 has no negative numbers",
        once: "how many times is a remainder dropped on the way? And is half of 2^31 added before the shift?",
        down: "a shift rounds down; an integer division that cuts towards zero does not",
        clamped: "clamp before the result becomes uint8 again, and after out_zeropoint is added",
    }

    def try_add(rule, grids, *pairs, **options):
        """Against exact fractions."""
        told = f"grids {grids}, {options}"
        got, left, at_once, later = expect_returns(
            lambda: added(grids, options, pairs), rule, given=told, hint=hints[rule]
        )
        (s_a, z_a), (s_b, z_b), (s_y, z_y) = grids
        factors = [Fraction(whole_factor(s / s_y), ONE) for s in (s_a, s_b)]
        half = Fraction(1, 2) if options.get("rounding_div", True) else 0
        expected = []
        for (a, b), result, kept in zip(pairs, got, left, strict=True):
            values = [
                z_y + math.floor(factors[0] * (p - z_a) + factors[1] * (q - z_b) + half)
                for p, q in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True)
            ]
            expected.append(torch.tensor(values, dtype=torch.int64).clamp(0, 255).reshape(a.shape))
            facts = f"{told}; shape {tuple(a.shape)}, a begins with {a.flatten()[:4].tolist()}"
            what = "the result is a new uint8 tensor of the shape of a and b"
            expect_type(result, torch.uint8, what, shape=a.shape, given=facts, hint="which step comes last?")
            expect_equal(result, expected[-1], rule, given=facts, hint=hints[rule])
            expect_equal(kept, [a, b], "a and b are not changed", given=facts, hint="-= writes into its tensor")
        for results in (at_once, later):
            expect_equal(results, expected, own, given=told, hint="what is kept on the class, or between two calls?")

    every = torch.arange(256, dtype=torch.uint8)
    pair, few = (every, every.flip(0)), torch.tensor([[12, 9, 10], [204, 200, 196]], dtype=torch.uint8)
    try_add(formula, [(0.5, 10), (0.25, 200), (0.5, 30)], (few[0], few[1]))
    try_add(formula, [(0.25, 200), (0.5, 10), (0.5, 30)], (few[1], few[0]))
    try_add(clamped, [(1.0, 128), (1.0, 128), (1.0, 128)], pair, (every, every))
    try_add(clamped, [(1.0, 128), (1.0, 128), (0.25, 128)], pair, (every, every))
    halves = [(1.0, 0), (1.0, 0), (2.0, 0)]
    try_add(once, halves, (every, every // 2), (every // 3, every // 2))
    try_add(once, [(1.0, 0), (1.0, 0), (2.0, 20)], (every, every // 2))
    try_add(formula, [(0.5, 10), (0.25, 200), (0.75, 30)], pair)
    try_add(formula, [(0.25, 200), (0.5, 10), (0.75, 30)], pair)
    try_add(once, [(0.1, 128), (0.3, 7), (0.7, 77)], pair, (every, every))
    try_add(down, [(1.0, 200), (1.0, 190), (2.0, 250)], (every, every // 2), rounding_div=False)
    try_add(down, [(0.1, 128), (0.3, 7), (0.7, 77)], pair, (every, every), rounding_div=False)
    try_add(down, [(1 - 2**-31, 0), (1.0, 0), (1.0, 0)], (every, every * 0), rounding_div=False)  # a little below
    try_add(once, [(1 - 2**-31, 0), (1.0, 0), (2.0, 0)], (every, every * 0))
    try_add(clamped, [(256.0, 128), (0.01, 128), (1.0, 5)], pair, (every, every))
    try_add(clamped, [(1.0, 255), (1.0, 255), (1.0, 255)], (every, every))
    for _, codes in forms(torch.arange(120, dtype=torch.uint8).reshape(2, 5, 3, 4)):
        try_add(formula, [(0.02, 3), (0.05, 130), (0.04, 99)], (codes, 255 - codes), (255 - codes, codes))
    refused = "two tensors of other shapes are refused with a ValueError"
    for first, second in (((2, 3), (2, 1)), ((3,), (1,)), ((1, 4), (4,)), ((), (1,)), ((2, 3), (3, 2))):
        pair, told = [torch.zeros(shape, dtype=torch.uint8) for shape in (first, second)], f"{first} and {second}"
        hint = "torch stretches dimensions of size 1: compare the shapes yourself"
        expect_raises(ValueError, lambda pair=pair: added(halves, {}, [pair]), refused, given=told, hint=hint)
    ### BEGIN HIDDEN TESTS
    g = generator()
    for number in range(6):
        scales = (torch.rand(3, generator=g) * 0.2 + 0.01).tolist()
        grids = list(zip(scales, torch.randint(256, (3,), generator=g).tolist(), strict=True))
        drawn = [torch.randint(256, (2, 3, 7), generator=g, dtype=torch.uint8) for _ in range(4)]
        rounding = number % 2 == 0
        try_add(once if rounding else down, grids, drawn[:2], drawn[2:], rounding_div=rounding)
    ### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 4: the mean of codes
#
# At the end of MobileNetV2 the mean is taken over all positions of a channel (global average pooling). The mean of
# codes is a code again, on the same grid: the thesis leaves it there (4.3.2). TensorFlow Lite goes to an output grid of
# its own, and so do you:
#
# $$
# y = z_y + \operatorname{round}\Big( \frac{M \sum_p (q_p - z_q)}{2^{31}\, P} \Big), \qquad
# M = \operatorname{round}\Big( 2^{31}\, \frac{s_q}{s_y} \Big),
# $$
#
# with $P$ positions. Again **one** rounding. $P$ is no power of two in general, so a shift will not do: to round a
# fraction $t/d$ in whole numbers, take $\lfloor (2t + d) / (2d) \rfloor$. (torch's `//` rounds down for whole numbers,
# as Python's does.)


# %% nbgrader={"grade_id": "quantized_average_pool", "solution": true}
def quantized_average_pool(q, in_grid, out_grid, rounding_div=True):
    """The mean over all positions of each channel, of 8-bit codes, in whole numbers.

    Args:
        q: uint8 tensor (batch, channels, height, width), codes of in_grid; height * width from 1 to 16384. It is not
            changed.
        in_grid, out_grid: a tuple (scalefactor, zeropoint) each: a positive float, and an int from 0 to 255; the
            input's scalefactor is at most 16 times the output's.
        rounding_div: whether the division rounds to nearest, halves up; if not, it rounds down.

    Returns:
        A uint8 tensor (batch, channels), codes of out_grid: the sum over the positions of codes less their zeropoint,
        times whole_factor(input scalefactor / output scalefactor), divided by 2^31 times the number of positions,
        rounded once; then the output's zeropoint is added; then what lies outside 0 .. 255 becomes 0 or 255. All in
        whole numbers.
    """
    ### BEGIN SOLUTION
    factor = whole_factor(in_grid[0] / out_grid[0])
    total = (q.long() - in_grid[1]).sum((2, 3)) * factor
    divisor = ONE * q.shape[2] * q.shape[3]
    mean = (2 * total + divisor) // (2 * divisor) if rounding_div else total // divisor
    return (mean + out_grid[1]).clamp(0, 255).byte()
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_quantized_average_pool", "grade": true, "points": 3}
with check("quantized_average_pool"):
    formula = (
        "the code is the output's zeropoint plus factor times the sum of (code - zeropoint), by 2^31 times positions"
    )
    once = "it is rounded once, at the end, to nearest, halves up"
    down = "without rounding_div the division rounds down, below zero, too"
    clamped = "what lies outside 0 .. 255 becomes 0 or 255"
    wide = "sums over many positions do not wrap around"
    hints = {
        formula: "what is summed over what? Height and width need not be equal",
        once: "is the mean rounded before it goes to the output's grid? And where do halves go?",
        down: "which way do // and a cast of a quotient go for negative numbers?",
        clamped: "clamp before the result becomes uint8 again, and after the zeropoint is added",
        wide: "which dtype has the sum, and which its product with the factor?",
    }

    def exact_means(q, in_grid, out_grid, rounding_div=True):
        """By exact fractions."""
        m, half = Fraction(whole_factor(in_grid[0] / out_grid[0]), ONE), Fraction(1, 2) if rounding_div else 0
        rows = [[sum(c) - in_grid[1] * len(c) for c in image] for image in q.flatten(2).tolist()]
        count = q.shape[2] * q.shape[3]
        codes = [[out_grid[1] + math.floor(m * t / count + half) for t in image] for image in rows]
        return torch.tensor(codes, dtype=torch.int64).reshape(q.shape[:2]).clamp(0, 255)

    def try_pool(rule, facts, q, *grids, **options):
        facts = f"{facts}, shape {tuple(q.shape)}, grids {grids}, {options}"
        before, expected = state_of(q), exact_means(q, *grids, **options)
        result = expect_returns(
            lambda: quantized_average_pool(q, *grids, **options), rule, given=facts, hint=hints[rule]
        )
        expect_unchanged(before, state_of(q), "q is not changed", hint="-= and methods that end in _ write into q")
        what = "the result is a uint8 tensor (batch, channels)"
        expect_type(result, torch.uint8, what, shape=q.shape[:2], given=facts, hint="which step comes last?")
        expect_equal(result, expected, rule, given=facts, hint=hints[rule])

    def codes_of(*channels):
        return torch.tensor([[[row] for row in channels]], dtype=torch.uint8)

    same = (0.5, 0)
    small = codes_of([1, 2, 3, 4], [0, 0, 0, 1], [0, 0, 1, 1], [1, 1, 0, 1], [0, 1, 1, 2], [7, 7, 7, 8])
    whole = codes_of([1, 3, 2, 2], [0, 0, 0, 4], [4, 8, 6, 6], [3, 3, 3, 3])
    try_pool(formula, "means 2, 1, 6 and 3, on one grid", whole, same, same)
    try_pool(formula, "means 2, 1, 6 and 3", whole, (0.5, 3), (0.25, 40))
    try_pool(once, "1, 2, 3, 4 and so on, on one grid", small, same, same)
    try_pool(once, "the same, on one grid with zeropoint 3", small, (0.5, 3), (0.5, 3))
    try_pool(once, "the same", small, (0.5, 3), (0.75, 40))
    try_pool(once, "thirds", codes_of([1, 2, 5], [1, 1, 2], [0, 1, 0], [2, 2, 1]), (1.0, 0), (0.25, 0))
    try_pool(once, "thirds", codes_of([1, 2, 5], [1, 1, 2], [0, 1, 0], [2, 2, 1]), (1.5, 9), (1.0, 100))
    try_pool(down, "1, 2, 3, 4 and so on", small, (0.5, 3), (0.75, 40), rounding_div=False)
    try_pool(down, "1, 2, 3, 4 and so on", small, same, same, rounding_div=False)
    below = codes_of([101, 102], [200, 200], [3, 4], [254, 254])
    try_pool(once, "a little below a half", below, (1 - 2**-31, 0), (1.0, 0))
    try_pool(down, "a little below a whole number", below, (1 - 2**-31, 0), (1.0, 0), rounding_div=False)
    try_pool(clamped, "0, 0, 255, 250", codes_of([0, 0, 255, 250], [0, 1, 0, 0]), (1.0, 30), (0.1, 128))
    try_pool(clamped, "0, 0, 255, 250", codes_of([0, 0, 255, 250], [0, 1, 0, 0]), (1.0, 128), (1.0, 250))
    try_pool(wide, "255 everywhere", torch.full((1, 2, 128, 128), 255, dtype=torch.uint8), (0.5, 0), (0.5, 0))
    try_pool(wide, "255 everywhere", torch.full((1, 2, 128, 128), 255, dtype=torch.uint8), (16.0, 254), (1.0, 7))
    g = generator()
    for shape in ((2, 3, 4, 7), (3, 1, 1, 1), (1, 5, 7, 1), (0, 3, 2, 2), (2, 0, 2, 2), (2, 3, 7, 7)):
        q = torch.randint(256, shape, generator=g, dtype=torch.uint8)
        try_pool(formula, "random codes", q, (0.07, 113), (0.02, 90))
        turned = q.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
        try_pool(formula, "random codes, not contiguous", turned, (0.07, 113), (0.05, 120), rounding_div=False)
    own, hint = "each call goes by the codes as they are then", "what is kept between two calls?"
    q = torch.randint(256, (2, 3, 4, 4), generator=g, dtype=torch.uint8)
    sets = [(q, same, same), (255 - q, same, same), (q // 2, same, same)]
    for results in reused(quantized_average_pool, sets):
        expect_equal(results, [exact_means(*arguments) for arguments in sets], own, given="other codes", hint=hint)
    ### BEGIN HIDDEN TESTS
    for number in range(8):
        scales = (torch.rand(2, generator=g) * 0.2 + 0.05).tolist()
        grids = list(zip(scales, torch.randint(256, (2,), generator=g).tolist(), strict=True))
        height, width = torch.randint(1, 9, (2,), generator=g).tolist()
        q = torch.randint(256, (3, 20, height, width), generator=g, dtype=torch.uint8)
        rounding = number % 2 == 0
        try_pool(once if rounding else down, "random codes", q, *grids, rounding_div=rounding)
    ### END HIDDEN TESTS

# %% [markdown]
# **Explore: what one rounding is worth.** Both functions on random codes, beside the same with a rounding more: each
# summand rounded to the output's grid before the addition, the mean rounded before it goes to the output's grid. How
# often is the code another one?
#
# <details><summary>Answer</summary>
#
# For a quarter of the sums and more than a third of the means, always by one code. The rounding before is as coarse as
# the one at the end, and tips many numbers over to the next code.
#
# </details>

# %% tags=["explore"]
maker = torch.Generator().manual_seed(0)
a, b = torch.randint(256, (2, 100_000), generator=maker, dtype=torch.uint8)
grids = (0.021, 120), (0.034, 90), (0.05, 110)
zero = torch.full_like(a, 90)
alone = QuantizedAdd(*grids).run(a, zero).long() - 110, QuantizedAdd(*grids).run(torch.full_like(a, 120), b).long()
share = (QuantizedAdd(*grids).run(a, b) != sum(alone).clamp(0, 255)).double().mean()
print(f"addition: {100 * share:.1f} % of the codes differ if each summand is rounded")
maps = torch.randint(256, (1000, 20, 2, 2), generator=maker, dtype=torch.uint8)
grids = (0.05, 0), (0.04, 0)
first = quantized_average_pool(maps, grids[0], grids[0])[:, :, None, None]
share = (quantized_average_pool(maps, *grids) != quantized_average_pool(first, *grids)).double().mean()
print(f"average:  {100 * share:.1f} % of the codes differ if the mean is rounded first")

# %% [markdown]
# ## Exercise 5: the recreated network
#
# The heart of the tool: which layers are replaced stands in a configuration, as in the thesis' Appendix A.
#
# ```python
# config = [
#     {"kind": "conv", "merge_relu": True, "num_bits": 8},             # all convolutions
#     {"kind": "conv", "indices": [0, 33], "num_bits": 16},            # but for two of them
#     {"kind": "linear", "num_bits": 8},
# ]
# ```
#
# A table chooses layers of a `kind`: all, or those with these `indices`, counted in the order in which the network
# calls them, from 0. Everything else in the table are the layer's options. What is put in a layer's place is not your
# business: somebody hands you a function `make`. Yours is the graph. The given `kind_of` tells a layer's kind.
#
# One option concerns the graph: with `merge_relu` the ReLU or ReLU6 that follows goes into the layer's output grid, as
# in exercise 2. This is allowed only if **nothing else** takes the layer's output: who else takes it would get the
# clamped numbers. Then `make` is handed the ReLU as well, and the graph calls it no more.
#
# `fx.symbolic_trace(model)` gives the network as a graph that you can walk and change: each `node` of `graph.nodes`
# with `node.op == "call_module"` calls the layer at the path `node.target`; `node.users` are the nodes that take its
# output; `node.replace_all_uses_with(other)` and `graph.erase_node(node)` do what they say; `get_submodule` and
# `set_submodule` take a path; and `recompile()` comes last.


# %% nbgrader={"grade_id": "recreate", "solution": true}
def recreate(model, config, make):
    """A copy of a network in which the layers that a configuration names are replaced.

    Args:
        model: nn.Module in eval mode that fx.symbolic_trace takes; it calls each layer that has a kind just once, other
            layers (a ReLU) perhaps at several places. Neither it nor its layers are changed.
        config: list of tables (dict): "kind", one of KINDS; perhaps "indices", a list of numbers of layers of this kind
            (see kind_of), in the order in which the network calls them, from 0; without it all of the kind are meant.
            The rest, "merge_relu" included, are options. Of a layer that several tables name, the last one counts, with
            its options alone. It is not changed.
        make: function, called as make(layer, relu, options) once for each chosen layer, in the order in which the
            network calls them, and for no other: the layer of the copy; the ReLU, or None; the options, a new dict each
            time. It returns the nn.Module that takes their place. relu is the nn.ReLU or nn.ReLU6 layer (of the copy)
            that takes the layer's output, if the option "merge_relu" is there and true and nothing else takes that
            output.

    Returns:
        A new fx.GraphModule, which shares no layer and no tensor with the model. It does not call a ReLU any more at
        the place where make got it. All else is as in the model.

    Raises:
        ValueError: if a table's kind is none of KINDS, or there is no layer of that kind with such an index (negative
            ones included); make may have been called for other layers by then.
    """
    ### BEGIN SOLUTION
    traced = fx.symbolic_trace(copy.deepcopy(model))
    layers = {kind: [] for kind in KINDS}
    for node in traced.graph.nodes:
        if node.op == "call_module" and (kind := kind_of(traced.get_submodule(node.target))):
            layers[kind].append(node)
    chosen = {}
    for table in config:
        options = dict(table)
        kind, indices = options.pop("kind"), options.pop("indices", None)
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is no kind of layer; there are {KINDS}")
        for index in range(len(layers[kind])) if indices is None else indices:
            if not 0 <= index < len(layers[kind]):
                raise ValueError(f"there are {len(layers[kind])} layers of kind {kind}, and none with number {index}")
            chosen[layers[kind][index]] = options
    for node in [node for node in traced.graph.nodes if node in chosen]:
        options, relu, users = dict(chosen[node]), None, list(node.users)
        if options.get("merge_relu") and len(users) == 1 and users[0].op == "call_module":
            follower = traced.get_submodule(users[0].target)
            if isinstance(follower, nn.ReLU | nn.ReLU6):
                relu = follower
                users[0].replace_all_uses_with(node)
                traced.graph.erase_node(users[0])
        traced.set_submodule(node.target, make(traced.get_submodule(node.target), relu, options))
    traced.recompile()
    return traced
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_recreate", "grade": true, "points": 5}
with check("recreate"):

    @probe
    def recreated(layers, program, seed, config, x):
        """What came of it, and what make was handed."""
        model, handed = network_of(layers, program, seed), []

        def make(layer, relu, options):
            weight = layer.weight.detach().clone()
            handed.append([weight, type(relu).__name__, sorted([key, str(value)] for key, value in options.items())])
            options["num_bits"] = 99
            return Less(copy.deepcopy(layer), relu, len(handed))

        new = recreate(model, config, make)
        left = [type(new.get_submodule(n.target)).__name__ for n in new.graph.nodes if n.op == "call_module"]
        output = new(x).detach()
        with torch.no_grad():
            for tensor in (*new.parameters(), *new.buffers()):
                tensor.fill_(3)
        names = [c.__name__ for c in type(new).__mro__]
        config_after = [sorted([key, str(value)] for key, value in table.items()) for table in config]
        return names, handed, left, output, state_of(model), config_after

    which = "the layers that a table names are replaced, counted by kind in the order of the calls, and no others"
    order = "make is called once for each chosen layer, in the order in which the network calls them"
    later = "of a layer that several tables name, the last one counts, with its options alone"
    alone = "make gets the ReLU if merge_relu is true and nothing else takes the layer's output; else None"
    gone = "a ReLU that make got is called no more at that place, and stays everywhere else"
    computes = "the new network computes with what make returned, and with the rest as it was"
    same = "the model is not changed, and the new network shares nothing with it"
    hints = {
        which: "the graph's nodes are in the order of the calls; the attributes of the model need not be",
        order: "first find out what is chosen, then go through the graph",
        later: "what becomes of the options of the earlier table?",
        alone: "node.users are the nodes that take its output: how many are there, of what op, of which classes?",
        gone: "erase the node, not the layer: others may call the same ReLU",
        computes: "who takes the ReLU's output when it is gone? Was the graph recompiled?",
    }
    convolution = {"in_channels": 4, "out_channels": 4, "kernel_size": 1}
    linear = {"in_features": 6, "out_features": 6}
    known = dict.fromkeys("abcd", ("Conv2d", convolution)) | dict.fromkeys("klm", ("Linear", linear))
    known |= dict.fromkeys("pq", ("Conv2d", {**convolution, "groups": 4})) | {
        "e": ("Mine(Conv2d)", {**convolution, "groups": 2})
    }
    known |= {
        "r": ("ReLU", {}),
        "s": ("ReLU", {}),
        "t": ("ReLU6", {}),
        "u": ("ReLU6", {}),
        "n": ("BatchNorm2d", {"num_features": 4}),
    }
    known |= {"h": ("Hardtanh", {}), "y": ("LeakyReLU", {}), "i": ("Identity", {})}

    def try_recreate(rule, program, config, calls, becomes, options, seed=0):
        """One network, with a configuration.

        program: of the model. becomes: what the new network computes, with the number of the call taken off. calls:
        what make is handed, a layer and perhaps its ReLU each. options: of each call, if not the first table's of all.
        """
        used = [name for name in known if re.search(rf"\b{name}[(.]", program)]
        paths = draw_paths(used, g)
        shuffled = torch.randperm(len(used), generator=g).tolist()  # attributes in another order than the calls
        layers = {used[n]: (paths[used[n]], *known[used[n]]) for n in shuffled}
        facts = f"{program} with { {name: kind for name, (_, kind, _) in layers.items()} }, config {config}"
        names, handed, left, output, after, config_after = expect_returns(
            lambda: recreated(layers, program, seed, copy.deepcopy(config), x), rule, given=facts, hint=hints[rule]
        )
        expect("GraphModule" in names, "the result is an fx.GraphModule", given=facts, got=names[:2])
        own = network_of(layers, program, seed)
        before = state_of(own)
        letters, relus = [call[0] for call in calls.split()], [call[2:] or "NoneType" for call in calls.split()]
        first = {key: value for key, value in config[0].items() if key not in ("kind", "indices")} if config else {}
        wanted = [
            sorted([key, str(value)] for key, value in table.items()) for table in options or [first] * len(letters)
        ]
        weights = {name: own.get_submodule(layers[name][0]).weight.detach() for name in used if known[name][1]}
        came = [[name for name, w in weights.items() if torch.equal(w, row[0])] or "another layer" for row in handed]
        rule_of = order if sorted(map(str, came)) == sorted(str([name]) for name in letters) else which
        expect_equal(came, [[name] for name in letters], rule_of, given=facts, hint=hints[rule_of])
        expect_equal([row[1] for row in handed], relus, alone, given=facts, hint=hints[alone])
        what = (
            later if rule == later else "make gets the table's options, without kind and indices, in a dict of its own"
        )
        expect_equal([row[2] for row in handed], wanted, what, given=facts, hint=hints[later])
        remain = len(re.findall(r"\b[rstu]\(", becomes)) - calls.count(":")
        expect_equal(sum(name in ("ReLU", "ReLU6") for name in left), remain, gone, given=facts, hint=hints[gone])
        own.program = compile(becomes, "<becomes>", "eval")
        result, of = own(x).detach(), rule if rule in (alone, gone) else computes
        # float64, through a handful of layers
        expect_close(output, result, of, within=1e-9, given=facts, hint=hints[of])
        hint = "afterwards all numbers of the new network were set to 3: which of the model's objects does it share?"
        expect_unchanged(before, after, same, hint=hint)
        unchanged = [sorted([key, str(value)] for key, value in table.items()) for table in config]
        what, hint = "config is not changed", "pop takes a key out of a table"
        expect_equal(config_after, unchanged, what, given=facts, hint=hint)

    g = generator()
    x = torch.randn(2, 4, 5, 6, generator=g, dtype=torch.float64)
    plain, merge = {"num_bits": 8}, {"merge_relu": True, "num_bits": 4}
    conv, depthwise, linear = ({"kind": kind} for kind in KINDS)
    conv8, conv4 = {**conv, **plain}, {**conv, **merge}
    for rule, program, config, calls, becomes, *options in [
        (which, "k(b(r(a(x))))", [conv8], "a b", "k(b(r(a(x) - 1)) - 2)"),
        (which, "k(b(r(a(x))))", [linear], "k", "k(b(r(a(x)))) - 1"),
        (which, "q(e(p(a(x))))", [{**depthwise, **plain}], "p q", "q(e(p(a(x)) - 1)) - 2"),
        (which, "q(e(p(a(x))))", [conv8], "a e", "q(e(p(a(x) - 1)) - 2)"),
        (which, "d(c(b(a(x))))", [{**conv, "indices": [2, 0]}], "a c", "d(c(b(a(x) - 1)) - 2)"),
        (which, "d(c(b(a(x))))", [{**conv, "indices": []}], "", "d(c(b(a(x))))"),
        (which, "d(c(b(a(x))))", [], "", "d(c(b(a(x))))"),
        (which, "k(n(y(x)))", [conv], "", "k(n(y(x)))"),
        (order, "k(b(l(a(x))))", [linear, conv], "a l b k", "k(b(l(a(x) - 1) - 2) - 3) - 4"),
        (later, "b(a(x))", [{**conv, "v": 1}, {**conv8, "indices": [1]}], "a b", "b(a(x) - 1) - 2", {"v": 1}, plain),
        (later, "b(a(x))", [{**conv8, "indices": [1]}, {**conv, "v": 1}], "a b", "b(a(x) - 1) - 2", {"v": 1}, {"v": 1}),
        (later, "r(b(t(a(x))))", [conv4, {**conv8, "indices": [0]}], "a b:ReLU", "r(b(t(a(x) - 1))) - 2", plain, merge),
        (alone, "b(r(a(x)))", [conv4], "a:ReLU b", "b(r(a(x)) - 1) - 2"),
        (alone, "t(k(x))", [{**linear, **merge}], "k:ReLU6", "t(k(x)) - 1"),
        (alone, "b(r(a(x)))", [{**conv, "merge_relu": False}], "a b", "b(r(a(x) - 1)) - 2"),
        (alone, "r(a(x))", [conv8], "a", "r(a(x) - 1)"),
        (alone, "r(n(a(x)))", [conv4], "a", "r(n(a(x) - 1))"),
        (alone, "h(a(y(b(x))))", [conv4], "b a", "h(a(y(b(x) - 1)) - 2)"),
        (alone, "(lambda v: r(v) + v)(a(x))", [conv4], "a", "(lambda v: r(v) + v)(a(x) - 1)"),
        (alone, "(lambda v: r(v) + t(v))(a(x))", [conv4], "a", "(lambda v: r(v) + t(v))(a(x) - 1)"),
        (alone, "(lambda v, w: r(v) + t(w))(a(x), b(x))", [conv4], "a:ReLU b:ReLU6", "r(a(x)) - 1 + t(b(x)) - 2"),
        (alone, "(lambda v: v + v)(a(r(x)))", [conv4], "a", "(lambda v: v + v)(a(r(x)) - 1)"),
        (gone, "(lambda v: b(v) + v)(r(a(x)))", [conv4], "a:ReLU b", "(lambda v: b(v) - 2 + v)(r(a(x)) - 1)"),
        (gone, "r(b(r(a(r(x)))))", [{**conv4, "indices": [0]}], "a:ReLU", "r(b(r(a(r(x))) - 1))"),
        (gone, "u(b(u(a(u(x)))))", [conv4], "a:ReLU6 b:ReLU6", "u(b(u(a(u(x))) - 1)) - 2"),
        (gone, "s(r(a(x)))", [conv4], "a:ReLU", "s(r(a(x)) - 1)"),
        (computes, "r(a(x)) * n.weight.mean()", [conv8], "a", "r(a(x) - 1) * n.weight.mean()"),
        (alone, "torch.relu(a(x)) + b(x).relu()", [conv4], "a b", "torch.relu(a(x) - 1) + (b(x) - 2).relu()"),
    ]:  # fmt: skip
        try_recreate(rule, program, config, calls, becomes, options)
    refused = "a kind that is none of KINDS, and an index that no layer has, are refused with a ValueError"
    layers = {name: (name * 3, *known[name]) for name in "apk"}
    for table in (
        {"kind": "relu"},
        {"kind": "Conv2d"},
        {"kind": "conv", "indices": [1]},
        {"kind": "conv", "indices": [-1]},
        {"kind": "linear", "indices": [0, 7]},
    ):
        for config in ([table], [{"kind": "conv"}, table]):
            expect_raises(
                ValueError, lambda c=config: recreated(layers, "k(p(a(x)))", 0, c, x), refused,
                given=f"k(p(a(x))), config {config}", hint="Python counts -1 from the end: compare both ends yourself",
            )  # fmt: skip
    ### BEGIN HIDDEN TESTS
    for rule, program, config, calls, becomes, *options in [
        (which, "l(d(p(b(k(x)))))", [{**conv, "indices": [1], "bits": 3}], "d", "l(d(p(b(k(x)))) - 1)"),
        (order, "b(l(p(a(x))))", [depthwise, linear, {**conv, "indices": [1]}], "p l b", "b(l(p(a(x)) - 1) - 2) - 3"),
        (later, "c(b(a(x)))", [{**conv, "w": 5}, {**conv, "indices": [0, 2], "v": 1}, {**conv, "indices": [2]}],
         "a b c", "c(b(a(x) - 1) - 2) - 3", {"v": 1}, {"w": 5}, {}),
        (alone, "u(p(t(a(x))) + x)", [{**depthwise, **merge}, conv4], "a:ReLU6 p", "u(p(t(a(x)) - 1) - 2 + x)"),
        (alone, "(lambda v: r(v) - v.abs())(l(x))", [{**linear, **merge}], "l", "(lambda v: r(v) - v.abs())(l(x) - 1)"),
        (gone, "r(d(r(c(r(x))) + r(x)))", [conv4], "c:ReLU d:ReLU", "r(d(r(c(r(x))) - 1 + r(x))) - 2"),
    ]:  # fmt: skip
        seed = int(torch.randint(1, 10**6, (1,), generator=g))
        try_recreate(rule, program, config, calls, becomes, options, seed)

    def pick(things):
        return things[int(torch.randint(len(things), (1,), generator=g))]

    for depth in (3, 4, 5, 6, 7, pick(range(2, 10))):  # networks, inputs and configurations that nobody has seen
        x = torch.randn(pick(range(1, 4)), 4, pick(range(1, 7)), 6, generator=g, dtype=torch.float64)
        letters = ["abcdepqklm"[n] for n in torch.randperm(10, generator=g)[:depth]]
        kinds = [KINDS[1 if letter in "pq" else 2 if letter in "klm" else 0] for letter in letters]
        config, chosen, calls, options = [], {}, [], []
        for _ in range(3):
            kind = pick(KINDS)
            own = [letter for letter, other in zip(letters, kinds, strict=True) if other == kind]
            table = {"num_bits": pick(range(2, 17)), "merge_relu": pick([True, False, True])}
            some = pick([None, *range(1, len(own) + 1)])
            indices = range(len(own)) if some is None else torch.randperm(len(own), generator=g)[:some].tolist()
            config.append({"kind": kind, **table} | ({} if some is None else {"indices": indices}))
            chosen |= {own[index]: table for index in indices}
        program = becomes = "x"
        for letter in letters:
            relu, between = pick("rstu"), pick("iyh")
            taken, shared, behind = f"{relu}({{}})", f"(lambda v: {relu}(v) + v)({{}})", f"{relu}({between}({{}}))"
            around = pick(["{}", taken, taken, shared, behind])
            merged = letter in chosen and chosen[letter]["merge_relu"] and around == taken
            if letter in chosen:
                calls.append(f"{letter}:{known[relu][0]}" if merged else letter)
                options.append(chosen[letter])
            less = f" - {len(calls)}" if letter in chosen else ""
            program = around.format(f"{letter}({program})")
            becomes = around.format(f"{letter}({becomes})" + less * (not merged)) + less * merged
        seed = int(torch.randint(1, 10**6, (1,), generator=g))
        try_recreate(which, program, config, " ".join(calls), becomes, options, seed)
    ### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 6: noises that add up
#
# How bad will the output be if each layer alone is this bad? The thesis' paper has a rule (equation 4.4): noises are
# independent, so their powers add up, and with signals of about equal power so do the shares,
#
# $$ \frac{1}{\xi_{\text{out}}} = \frac{1}{\xi_1} + \frac{1}{\xi_2} + \dots + \frac{1}{\xi_N} . $$
#
# The ratios $\xi$ are plain numbers here, not decibels: 20 dB are $10^{20/10} = 100$. Two layers of 20 dB give
# $1/\xi = 2/100$, so 17 dB. (The thesis calls this the harmonic *mean*; that would be $N$ times as much.) One bad layer
# rules the sum: the weakest link.


# %% nbgrader={"grade_id": "harmonic_sqnr", "solution": true}
def harmonic_sqnr(ratios):
    """What the ratios of single layers let expect at the output: 1 / out = 1 / first + 1 / second + ...

    Args:
        ratios: list of floats, in dB, each from -200 to 200, or math.inf for a layer without noise. It is not changed.

    Returns:
        Python float, in dB; math.inf if no layer has noise.
    """
    ### BEGIN SOLUTION
    noise = math.fsum(10 ** (-ratio / 10) for ratio in ratios)
    return -10 * math.log10(noise) if noise > 0 else math.inf
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_harmonic_sqnr", "grade": true, "points": 1}
with check("harmonic_sqnr"):
    adds = "the reciprocals of the ratios add up, as plain numbers and not in dB"
    none = "a layer without noise adds nothing; without any noise the result is infinite"
    hints = {
        adds: "dB to a number, its reciprocal, the sum, its reciprocal, back to dB. Is it a sum or a mean?",
        none: "what is the reciprocal of infinity, and what the logarithm of 0?",
    }

    def try_harmonic(rule, ratios, expected):
        before = list(ratios)
        result = expect_returns(lambda: harmonic_sqnr(ratios), rule, given=before, hint=hints[rule])
        expect_type(result, float, "the result is a Python float", given=before)
        # a sum of a few numbers, each good to some 2^-50
        expect_close(result, expected, rule, within=1e-9, given=before, hint=hints[rule])

    two, inf = 10 * math.log10(2), math.inf
    for ratios, expected in (
        ([20.0, 20.0], 20 - two), ([13.5], 13.5), ([10.0, 20.0, 20.0], 10 - 10 * math.log10(1.2)),
        ([0.0, 0.0], -two), ([-200.0, -200.0], -200 - two), ([200.0, 200.0], 200 - two), ([40.0] * 1000, 10.0),
        ([-3.0, -3.0, 200.0], -3 - two),
    ):  # fmt: skip
        try_harmonic(adds, ratios, expected)
    for ratios, expected in (
        ([20.0, inf], 20.0),
        ([inf, inf, -7.25], -7.25),
        ([inf], inf),
        ([], inf),
        ([inf, inf], inf),
    ):
        try_harmonic(none, ratios, expected)
    own, hint = "each call goes by its list, which is not changed", "what is kept between two calls?"
    for results in reused(harmonic_sqnr, [([20.0, 20.0],), ([10.0, 10.0],), ([20.0, inf],)]):
        expect_close(
            results, [20 - two, 10 - two, 20.0], own, within=1e-9, given="a list, then with others in it", hint=hint
        )

    @probe
    def list_after(ratios):
        harmonic_sqnr(ratios)
        return ratios

    expect_equal(list_after([9.0, 3.0, inf]), [9.0, 3.0, inf], own, given=[9.0, 3.0, inf], hint="sort and remove write")
    ### BEGIN HIDDEN TESTS
    g = generator()
    for count in (1, 2, 5, 40):
        ratios = (torch.rand(count, generator=g, dtype=torch.float64) * 120 - 30).tolist()
        expected = (
            -10
            * float(torch.logsumexp(torch.tensor(ratios, dtype=torch.float64) * (-math.log(10) / 10), 0))
            / math.log(10)
        )
        try_harmonic(adds, ratios, expected)
        try_harmonic(none, [*ratios, inf], expected)
    ### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 7: the weak and the strong links
#
# The thesis compares each layer's SQNR with that of its input, and picks the five replaced layers where it *changes*
# for the worst, and the five where it changes for the best. (Its list of experiments speaks of layers "with low SQNR";
# its figure 5.1, from which they are taken, shows the difference.) Which five should get more bits, which five less?
#
# <details><summary>Answer</summary>
#
# The thesis would give the five *lowest* more (float32, in its experiment C) and save on the five highest. Whether the
# change of the SQNR is a good guide is what the experiments below try out. It may mislead: where the ratio has risen
# for another reason, it falls again at the next layer.
#
# </details>


# %% nbgrader={"grade_id": "rank_layers", "solution": true}
def rank_layers(changes, count=5):
    """The layers with the lowest and those with the highest change of SQNR.

    Args:
        changes: dict: name of a layer -> its output's SQNR less its input's, a float in dB, in the order of the
            network. Layers whose change is not finite (an input without noise has an infinite SQNR) are not ranked. It
            is not changed.
        count: how many of each, a whole number from 1 on.

    Returns:
        A tuple (lowest, highest) of two lists of names. All ranked layers stand in one row, from the lowest change to
        the highest, equal ones in the network's order: lowest has the first of the row; highest the last, in reverse,
        so that the highest change comes first. Each has count names; or half as many as there are ranked layers,
        rounded down, if that is less: so none stands in both.
    """
    ### BEGIN SOLUTION
    row = sorted((name for name in changes if math.isfinite(changes[name])), key=changes.get)
    count = min(count, len(row) // 2)
    return row[:count], row[::-1][:count]
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_rank_layers", "grade": true, "points": 2}
with check("rank_layers"):
    ranks = "lowest: the lowest change first; highest: the highest change first; signs count"
    ties = "of equal changes the earlier layer comes first in the row, so it comes last in highest"
    half = "each list has count names, or half as many as there are ranked layers, rounded down"
    finite = "layers whose change is infinite or NaN are not ranked, and not counted"
    hints = {
        ranks: "-8 dB is lower than 3 dB and than -2 dB; which end of the row is which?",
        ties: "sort once; sorted keeps the order of equal ones. highest is the row's end, backwards",
        half: "no layer stands in both lists; and is it count of each, or of both together?",
        finite: "leave them out before you sort and count: NaN has no place in an order",
    }

    @probe
    def ranked(names, values, *count):
        """What came of it, and what is left of the dict."""
        changes = dict(zip(names, values, strict=True))
        return [
            list(rank_layers(changes, *count)),
            type(rank_layers(changes, *count)).__name__,
            list(changes),
            list(changes.values()),
        ]

    def try_rank(rule, changes, lowest, highest, *count):
        facts = f"{changes}, {f'count {count[0]}' if count else 'no count given'}"
        result, kind, names, values = expect_returns(
            lambda: ranked(list(changes), list(changes.values()), *count), rule, given=facts, hint=hints[rule]
        )
        expect_equal(kind, "tuple", "the result is a tuple of two lists", given=facts)
        expect_equal(
            [str(type(part).__name__) for part in result],
            ["list"] * 2,
            "the result is a tuple of two lists",
            given=facts,
        )
        expect_equal(result, [lowest, highest], rule, given=facts, hint=hints[rule])
        what, hint = "changes is not changed", "pop and del write into the dict"
        expect_equal(names, list(changes), what, given=facts, hint=hint)
        expect_equal(values, list(changes.values()), what, given=facts, hint=hint)

    nan, inf = math.nan, math.inf
    some = {"a": 1.0, "b": -8.0, "c": 3.0, "d": -2.0, "e": 0.0}
    try_rank(ranks, some, ["b", "d"], ["c", "a"], 2)
    try_rank(ranks, some, ["b"], ["c"], 1)
    try_rank(half, some, ["b", "d"], ["c", "a"])
    try_rank(half, some, ["b", "d"], ["c", "a"], 3)
    many = {f"layer{n}": (n * 7 % 23) - 11.5 for n in range(23)}
    rising = sorted(many, key=many.get)
    try_rank(half, many, rising[:5], rising[:-6:-1])
    try_rank(half, many, rising[:11], rising[:-12:-1], 11)
    try_rank(half, many, rising[:11], rising[:-12:-1], 12)
    try_rank(half, {"only": 4.0}, [], [], 1)
    try_rank(half, {}, [], [], 5)
    try_rank(half, {"z": 2.0, "y": 1.0}, ["y"], ["z"])
    try_rank(ties, {"z": 1.0, "a": 1.0, "m": 1.0, "b": 1.0}, ["z", "a"], ["b", "m"])
    try_rank(ties, {"z": 2.0, "a": 1.0, "m": 2.0, "b": 1.0, "k": 1.5}, ["a"], ["m"], 1)
    try_rank(finite, {"a": inf, "b": 1.0, "c": nan, "d": 3.0, "e": -inf, "f": 2.0}, ["b"], ["d"])
    try_rank(finite, {"a": nan, "b": 1.0, "c": nan, "d": 3.0, "e": nan, "f": 2.0, "g": -1.0}, ["g", "b"], ["d", "f"])
    try_rank(finite, {"a": inf, "b": -inf, "c": nan}, [], [])
    ### BEGIN HIDDEN TESTS
    g = generator()
    for size, count in ((30, 5), (9, 5), (10, 5), (11, 2), (40, 15)):
        values = (torch.randn(size, generator=g) * 4).round().tolist()  # with equal ones
        names = [f"n{n}" for n in torch.randperm(1000, generator=g)[:size].tolist()]
        if size > 10:
            values[3], values[size // 2] = nan, inf
        kept = sorted([(value, n) for n, value in enumerate(values) if math.isfinite(value)])
        most = min(count, len(kept) // 2)
        row = [names[n] for _, n in kept]
        try_rank(ties, dict(zip(names, values, strict=True)), row[:most], row[len(row) - most :][::-1], count)
    ### END HIDDEN TESTS

# %% [markdown]
# ## Explore: your own profiler
#
# Now it all fits together. Your `recreate` takes a configuration, the tool's whole-number layers are what `make` puts
# in, your `sqnr_per_layer` measures, your `rank_layers` ranks. The network is the MobileNetV2 with its batch norms
# folded into the convolutions (lab 05), so that ReLU6 follows each convolution directly and `merge_relu` has something
# to merge. All convolutions, depthwise too, and the last layer go to 8 bits.

# %% tags=["explore"]
from torch.nn.utils.fusion import fuse_conv_bn_eval

folded = copy.deepcopy(mobilenet)
for block in folded.modules():
    parts = list(block._modules.items())
    for (first, conv), (second, norm) in itertools.pairwise(parts):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            block._modules[first], block._modules[second] = fuse_conv_bn_eval(conv, norm), nn.Identity()

# one more pass, so that the identities leave the graph, too
reference = fx.symbolic_trace(folded)
for node in list(reference.graph.nodes):
    if node.op == "call_module" and isinstance(reference.get_submodule(node.target), nn.Identity | nn.Dropout):
        node.replace_all_uses_with(node.args[0])
        reference.graph.erase_node(node)
reference.recompile()

ranges = {}  # node -> (smallest, largest) value on the calibration samples
with torch.no_grad():
    Watch(reference, lambda node, value: ranges.update({node: (float(value.min()), float(value.max()))})).run(
        calibration
    )
follows = {}  # node of a layer -> the node whose output it has once its ReLU6 is merged
grids = {}  # path of a layer -> ranges of input and output
for node in reference.graph.nodes:
    if node.op == "call_module":
        users = list(node.users)
        relu = (
            len(users) == 1
            and users[0].op == "call_module"
            and isinstance(reference.get_submodule(users[0].target), nn.ReLU6)
        )
        follows[node.name] = users[0].name if relu else node.name
        grids[node.target] = ranges[node.args[0].name], (0.0, 6.0) if relu else ranges[node.name]
in_order = iter([pair for target, pair in grids.items() if kind_of(reference.get_submodule(target))])


def make(layer, relu, options):
    """The tool's layer in its place; recreate calls this in the network's order."""
    return profiler.IntegerLayer(layer, *next(in_order), profiler.Options(num_bits=options["num_bits"]))


config = [{"kind": kind, "num_bits": 8, "merge_relu": True} for kind in KINDS]
recreated = recreate(reference, config, make)
calls = [n.name for n in recreated.graph.nodes if n.op == "call_module" and n.name in follows]
names = {follows[name]: name for name in calls}
mine = sqnr_per_layer(
    outputs(reference, {node: node for node in names}, images.split(100)),
    outputs(recreated, {name: node for node, name in names.items()}, images.split(100)),
)
decibels = {names[node]: mean for node, (mean, _, _) in mine.items()}
row = list(decibels)
lowest, highest = rank_layers({name: decibels[name] - decibels[before] for before, name in itertools.pairwise(row)})
print("output of the last layer: mean of ratios {:.2f} dB, ratio of sums {:.2f} dB".format(*mine[follows[row[-1]]]))
print("falls most from the layer before:", ", ".join(lowest))
print("rises most:", ", ".join(highest))

# %% [markdown]
# ## Explore: layer by layer
#
# The demo shows a small network, ClassyClassifier, and measures it by your two functions. Each of its five layers keeps
# settings of its own. Bring one layer down to 3 bits, then another: behind which does the ratio fall, and does accuracy
# follow? How low may the ratio at the output get before one image in ten gets another answer?
#
# <details><summary>Answer</summary>
#
# The ratio falls at the layer that was changed and hardly recovers behind it: ReLU and pooling take out only a little
# of the noise. Accuracy follows late, because an answer changes only where two logits are nearer to each other than the
# noise. Compare the two pictures below; somewhere around 10 dB, where the noise has a tenth of the signal's power, it
# becomes one in ten.
#
# </details>

# %% tags=["explore"]
from course_utils.demos import Measured, layer_options_demo, layer_options_still
from course_utils.demos.layer_error import record_layers

classy = load_trained(f"classyclassifier-{test_set.name}")
few, their_labels = images[:100], labels[:100]
seen = record_layers(classy, calibration)
ends = {name: [(float(t.min()), float(t.max())) for t in (layer.inputs, layer.outputs)] for name, layer in seen.items()}
kinds = {name: (kind_of(layer.layer), number) for number, (name, layer) in enumerate(seen.items())}
originals = record_layers(classy, few)
first_guess = originals["layer8_fc"].outputs.argmax(1)


def measure(settings):
    """The recreated network with these settings, a layer each, by your functions."""
    order, config = iter(settings), []
    for name, setting in settings.items():
        kind, number = kinds[name]
        index = number if kind == "conv" else number - 2
        config.append({"kind": kind, "indices": [index], "setting": setting})

    def make(layer, relu, options):
        return options["setting"].layer(layer, *ends[next(order)])

    noisy = list(outputs(recreate(classy, config, make), {name: name for name in settings}, [few]))
    ratios = sqnr_per_layer([{name: originals[name].outputs for name in settings}], noisy)
    guess = noisy[0]["layer8_fc"].argmax(1)
    return Measured(
        {name: mean for name, (mean, _, _) in ratios.items()},
        right=int((guess == their_labels).sum()),
        reference_right=int((first_guess == their_labels).sum()),
        changed=int((guess != first_guess).sum()),
        images=len(few),
    )


display(layer_options_demo(measure, list(seen)))

# %% [markdown]
# The same without widgets.

# %% tags=["explore"]
display(layer_options_still(measure, list(seen), [{}, {"layer3_conv": (3, "per channel")}]))

# %% [markdown]
# ## Explore: where noises do not add up
#
# Three ways to use equation 4.4 on this network. What single ratios does one put in? Those that each layer alone, with
# all others in float, causes (1) at the output of the *network*, or (2) at its own output; or (3) those of the run with
# all layers replaced, which is what the thesis' graph shows. Which one must be right if noises are independent, and
# what is wrong with the others? (The table takes ratios of sums: only for these do powers add up exactly.)

# %% tags=["explore"]


def behind_layer(run, name):
    """The ratio at the output of what stands for a layer."""
    made, ratios = run
    return ratios[made.stands_for[f"{name}_recreated"]].ratio_of_sums


print("bits   measured   by (1)   by (2)   by (3)   dB")
for num_bits in (8, 6, 4):
    runs_of = {}
    for key in (*seen, "all"):
        names = list(seen) if key == "all" else [key]
        choices = [profiler.Choice(name, options=profiler.Options(num_bits=num_bits)) for name in names]
        made = profiler.recreate(classy, choices, [calibration])
        runs_of[key] = made, profiler.profile(made, few, their_labels).ratios
    ways = (
        [runs_of[name][1]["layer8_fc"].ratio_of_sums for name in seen],
        [behind_layer(runs_of[name], name) for name in seen],
        [behind_layer(runs_of["all"], name) for name in seen],
    )
    values = [behind_layer(runs_of["all"], "layer8_fc"), *map(harmonic_sqnr, ways)]
    print(f"{num_bits:4d}   {values[0]:8.1f}" + "".join(f"{value:9.1f}" for value in values[1:]))

# %% [markdown]
# <details><summary>Answer</summary>
#
# (1) is within a decibel or two: noises that come from different layers are nearly independent, and at the output they
# add up. It is a little too low, for the grid between two replaced layers is counted with both. (2) takes for granted
# that noise and signal pass through all later layers in the same proportion; but ReLU cuts away noise where the signal
# is 0, pooling averages it, a bias changes the signal alone. (3) counts the noise of the first layer again at every
# layer behind it.
#
# </details>
#
# ## Explore: the experiments
#
# The thesis' hypothesis: layers where the SQNR falls most are the weak links, so changing *them* must move accuracy
# more. Seven settings of the 35 convolutions, in 8 bits, per channel, with rounding division unless told otherwise;
# "high" and "low" are the five layers of your `rank_layers`, from setting A:
#
# | | five "high" layers | five "low" layers |
# |---|---|---|
# | in float32 | B | C |
# | weights with one grid for the whole tensor | D | E |
# | truncating division | F | G |
#
# And the two halves: only the first 18 convolutions in 8 bits, or only the last 17. **Before** you run the cell, write
# down what you expect: C before B, D before E, F before G, the first half before the second (those are the thesis'
# expectations). By how much must two settings differ on 200 images before you believe it?
#
# <details><summary>Answer</summary>
#
# Only images on which exactly one of the two is right can tell them apart, and if both are equally good, each of them
# is a fair coin. There are few of those, for the settings are alike. If all speak for the same setting, chance does
# that for five of them in 1 case of 16, for six in 1 of 32: six images, 3 points, is the least to be believed at 5 %;
# where the images disagree, it takes more.
#
# </details>

# %% tags=["explore"]
changes = {node.layer: node.change for node in nodes if node.layer and node.change is not None}
low, high = rank_layers(changes)
print("low: ", ", ".join(f"{name} {changes[name]:.1f}" for name in low))
print("high:", ", ".join(f"{name} +{changes[name]:.1f}" for name in high))


def but(names, **options):
    """All convolutions as in A, but these."""
    return [profiler.Choice("conv"), *(profiler.Choice(name, options=profiler.Options(**options)) for name in names)]


settings = {
    "B": but(high, quantized=False),
    "C": but(low, quantized=False),
    "D": but(high, per_channel_quant=False),
    "E": but(low, per_channel_quant=False),
    "F": but(high, rounding_div=False),
    "G": but(low, rounding_div=False),
    "first half": [profiler.Choice("conv", range(18))],
    "second half": [profiler.Choice("conv", range(18, 35))],
}
runs |= {name: experiment(*choices) for name, choices in settings.items()}

first = runs["A"].profile.outcomes["reference"]
print(f"\n{'setting':12s}  top-1   from the reference     SQNR   ratio of sums")
print(f"{'reference':12s} {100 * first.top1:6.2f}")
for name, run in runs.items():
    by, error, _ = profiler.difference(first, run.profile.outcomes["recreated"])
    end = list(run.profile.ratios.values())[-1]
    print(
        f"{name:12s} {100 * run.profile.outcomes['recreated'].top1:6.2f}   {100 * by:+6.2f} ± {100 * error:.2f} points"
        f"   {end.mean_of_ratios:6.2f}   {end.ratio_of_sums:6.2f} dB"
    )

print("\nexpected (better first)        came out at the output            in accuracy")
for better, worse in (("C", "B"), ("D", "E"), ("F", "G"), ("first half", "second half")):
    two = [runs[name] for name in (better, worse)]
    gap = [list(run.profile.ratios.values())[-1].ratio_of_sums for run in two]
    by, error, chance = profiler.difference(two[1].profile.outcomes["recreated"], two[0].profile.outcomes["recreated"])
    told = "yes" if gap[0] > gap[1] else "NO"
    verdict = "cannot be told" if chance > 0.05 else "yes" if by > 0 else "NO"
    verdict += f" ({100 * by:+.2f} points, p = {chance:.2f})"
    print(f"{better:>11s} before {worse:11s}  {told:3s} ({gap[0] - gap[1]:+.2f} dB)   {verdict}")

# %% [markdown]
# ## What the field reports
#
# The thesis' tables, of MobileNetV2 on the 50,000 validation images of ImageNet (224 x 224). Beside them ours, on 2,000
# generated images (`experiments/thesis.py` in the course's repository; the fully quantized network is torch's).
#
# | setting | SQNR (dB) | top-1 (%) | top-5 (%) | from the reference | ours: SQNR | top-1 | from the reference |
# |---|---|---|---|---|---|---|---|
# | reference, float32 (table 5.1) | | 68.05 | 88.40 | | | 89.80 | |
# | TensorFlow Lite, 8 bits (5.1) | | 67.39 | 87.82 | -0.66 | 21.84 | 89.50 | -0.30 ± 0.31 |
# | A: all 35 convolutions (not depthwise) (5.2, 5.3) | 11.14 | 63.81 | 85.65 | -4.24 | 30.22 | 89.30 | -0.50 ± 0.20 |
# | B: five high in float32 (5.2) | 10.80 | 63.82 | 85.69 | -4.23 | 30.77 | 89.90 | +0.10 ± 0.19 |
# | C: five low in float32 | 10.82 | 64.00 | 85.69 | -4.05 | 30.83 | 89.60 | -0.20 ± 0.20 |
# | D: five high per tensor | 10.70 | 63.68 | 85.58 | -4.37 | 30.23 | 89.65 | -0.15 ± 0.24 |
# | E: five low per tensor | 10.12 | 63.50 | 85.18 | -4.55 | 30.02 | 89.35 | -0.45 ± 0.21 |
# | F: five high truncating | 10.76 | 63.95 | 85.65 | -4.10 | 25.39 | 89.90 | +0.10 ± 0.27 |
# | G: five low truncating | 10.31 | 63.73 | 85.28 | -4.32 | 27.45 | 89.35 | -0.45 ± 0.25 |
# | first half: 18 convolutions (5.3) | 23.60 | 67.89 | 88.18 | -0.16 | 31.59 | 89.35 | -0.45 ± 0.21 |
# | second half: 17 convolutions | 11.10 | 64.23 | 85.89 | -3.82 | 36.06 | 89.80 | +0.00 ± 0.10 |
#
# What to read in it, and what is not there:
#
# - Settings B and C have five layers *fewer* in 8 bits than A, and yet a *lower* SQNR; F divides more coarsely than A
#   and is *more* accurate. The thesis drew other calibration samples for each setting: so differences of this size come
#   with the draw. Ours all use the same 100 samples.
# - Ours have D before E in the SQNR, and C before B by a hair; F and G and the two halves come out the other way round.
#   In accuracy none of the four pairs can be told from chance (by the same script, the least p is 0.06).
# - The evidence for weak links are differences of 0.18 points (C and B, D and E) and 0.22 (F and G). The thesis says
#   nothing of chance; the second question below does.
# - For the halves it supposes that longer sums amplify the errors of the second half. Sums of whole numbers are exact,
#   however long; in whole numbers that cannot be the reason.
# - The SQNR is a *mean of ratios*, which the activations with the least noise rule. Your verdicts above go by the ratio
#   of sums. Compare the two columns of your table: do they rank the settings alike?
#
# <details><summary>Answer</summary>
#
# Where settings are decibels apart, yes. A, C, D and E lie within half a decibel, and there the two columns may
# disagree about the order: so that order says nothing. Behind the last layer there are only ten activations, all with
# some noise; deep in the network, behind ReLU6, the two averages differ by far more.
#
# </details>
#
# <details><summary>For the curious: why our losses are smaller</summary>
#
# Here 32 x 32 images and ten classes, there ImageNet's thousand: the more classes, the nearer the two best ones, and
# the less noise it takes to exchange them. And the thesis' own tool loses six times as much as TensorFlow Lite with the
# same scheme on the same network, which it could not explain (its section 6.2).
#
# </details>
#
# ## A puzzle: the ratio that rises
#
# In your first picture the SQNR rises behind some nodes that are *not* replaced: batch norms in float32. A batch norm
# multiplies and adds one number a channel: it cannot take out noise that is in its input. The thesis saw the same and
# suspected the shift $\beta$ (its section 5.2). The next cell lists the batch norms with the largest rise.

# %% tags=["explore"]
modules = {name.replace(".", "_"): layer for name, layer in mobilenet.named_modules()}
norms = [node for node in nodes if not node.layer and isinstance(modules.get(node.name), nn.BatchNorm2d)]
behind = {node.name: node.ratio_of_sums for node in nodes}
print("                       change of mean of ratios   of ratio of sums     beta^2 / gamma^2: median   largest")
for node in sorted(norms, key=lambda node: -node.change)[:5]:
    share = (modules[node.name].bias / modules[node.name].weight).detach().square()
    sums = node.ratio_of_sums - behind[node.inputs[0]]
    print(f"{node.name:24s}{node.change:+20.1f} dB{sums:+16.1f} dB{share.median():27.2f}{share.max():10.1f}")

# %% [markdown]
# ### Question 1 (4 points): why it rises
#
# One channel of a batch norm: $y = \gamma\,(x - \mu)/\sigma + \beta$ with $\mu = 3$, $\sigma = 1$, $\gamma = 0.5$,
# $\beta = 2.5$. In the reference $x$ has the mean 3 and the variance 1; in the recreated network a noise with mean 0
# and variance 0.05, independent of $x$, is added to it.
#
# (a) Calculate the SQNR of $x$ and that of $y$, in dB: signal power is the mean *square*, as in equation 4.1. (b) Give
# the change of the SQNR as a formula of $\gamma, \beta, \mu, \sigma$. When does it rise, when does it *fall*? (c) The
# thesis calculates with $\hat{x} = (x - \mu)/\sigma$ as the norm's input. Which change does it then find for these
# numbers, and why can it never find a fall? (d) Is anything won for accuracy? Name a measure of noise that does not
# change from $x$ to $y$.

# %% [markdown] nbgrader={"grade_id": "batch_norm_puzzle", "grade": true, "solution": true, "points": 4}
# **Model answer.** (a) Signal power of $x$: $1 + 3^2 = 10$; $10/0.05 = 200$, 23.0 dB. $y$ has mean 2.5 and variance
# 0.25, so power $0.25 + 6.25 = 6.5$; its noise is $0.25 \cdot 0.05 = 0.0125$; $6.5/0.0125 = 520$, 27.2 dB: a rise of
# 4.1 dB. (b) The noise is multiplied by $\gamma^2/\sigma^2$, the power goes from $\sigma^2 + \mu^2$ to $\gamma^2 +
# \beta^2$: change $10 \log_{10} \frac{1 + \beta^2/\gamma^2}{1 + \mu^2/\sigma^2}$. It rises if $|\beta/\gamma| >
# |\mu/\sigma|$, and falls if it is less: the norm takes off one constant and adds another, and constants count as
# signal. (c) $\hat{x}$ has power 1 and noise 0.05: 13.0 dB, so a rise of 14.1 dB, and in general $10 \log_{10}(1 +
# \beta^2/\gamma^2) \ge 0$: with $\mu$ already taken off it sees only the constant that is added. (d) Nothing: the
# norm is an invertible map, with the same information before and behind, and what follows could be written with the
# shift in its own bias. The *variance* of the signal over the power of the noise does not change: $1/0.05 =
# 0.25/0.0125 = 20$.
#
# *Marking: 1 point for both ratios of (a); 1 for the formula of (b) with both cases; 1 for (c); 1 for "nothing" with a
# reason and a measure without the mean (variance, correlation).*

# %% [markdown]
# ### Question 2 (3 points): is it chance?
#
# The thesis says that C (64.00 %) is noticeably better than B (63.82 %), and that B barely differs from A (63.81 %), on
# 50,000 images. It does not say on how many images $D$ exactly one of two settings is right. If both are equally good,
# each of these $D$ images is a fair coin: the difference in right answers then has the standard deviation $\sqrt{D}$.
#
# (a) How many images are the two differences? (b) Up to which $D$ would each be more than 1.96 standard deviations? (c)
# Settings that differ in five of 35 layers change whether the answer is right of a few per cent of the images. What
# follows for each claim, and which number should the thesis have printed beside its accuracies?

# %% [markdown] nbgrader={"grade_id": "chance", "grade": true, "solution": true, "points": 3}
# **Model answer.** (a) 0.18 % of 50,000 are 90 images; 0.01 % are 5. (b) $90 > 1.96 \sqrt{D}$ for $D < 2108$, 4.2 % of
# the images; $5 > 1.96 \sqrt{D}$ for $D \le 6$. (c) C and B: with a disagreement of a few per cent (as far as right
# against wrong goes) 90 images stand at the border; it may be real, and cannot be told without $D$. B and A: no two
# such networks disagree on six images only, so 0.01 points say nothing. It should have printed the number of images on
# which exactly one of the two settings is right (or a standard error or p-value of the difference from them: McNemar).
#
# *Marking: 1 point for 90 and 5; 1 for both bounds; 1 for both verdicts with the number that is missing.*

# %% [markdown]
# ## Recap
#
# - Replace some layers, compare behind every layer: the SQNR says where noise comes in, for a small price.
# - Mean of ratios and ratio of sums are different questions. One activation without noise makes the first infinite, a
#   few with little noise rule it.
# - ReLU6 is the clamp of a grid. Additions and means have one rounding, at the end.
# - Noises of single layers add up at the output of the network, not at their own outputs.
# - An SQNR that rises behind a layer need not be noise taken out: look first which part of it is signal.
# - SQNR is no accuracy. A difference of accuracies on the same images is judged by the images that only one of two
#   networks gets right.
#
# The two questions above are graded by hand. To profile a network of your own: `course profile`, and *docs/profiler.md*
# in the course's repository.
