# ---
# jupyter:
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
#   course:
#     title: Deep Compression
#     minutes: 170
#     check_seconds: 10
#     withhold:
#       - course_utils.deep_compression
#       - torch.nn.utils.prune
# ---

# %% [markdown]
# # Deep Compression
#
# **Goal.** You make the file of a network more than 20 times smaller: you leave out most of its weights, let the rest
# share a few values, store where they stand as gaps, and give frequent numbers short code words. Afterwards you can say
# which bit of such a file is spent on what, and which stage earns its trouble. **Time:** about three hours. You need
# Python and a little torch, and to know what gradient descent does.
#
# include: how_to_work.md
#
# Refused here: `course_utils.deep_compression`, where the course has its own, and `torch.nn.utils.prune`.
#
# <details><summary>Sources</summary>
#
# "The document" is a lecture on methods of quantization; one of its last parts presents *Deep Compression* (S. Han, H.
# Mao and W. Dally, ICLR 2016), "the paper". Pruning is from S. Han and colleagues, *Learning both Weights and
# Connections for Efficient Neural Networks* (2015).
#
# </details>

# %%
import itertools
import math

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

from course_utils.checks import *
from course_utils.pictures import COLOURS, use_course_style

use_course_style()
torch.set_num_threads(1)  # most tensors here are small: a second thread would cost more than it gains

# %% [markdown]
# ## Idea
#
# A trained network is stored to be sent to many devices. Its file holds 32 bits a weight, and three things about it
# are wasteful:
#
# 1. **Most weights hardly matter.** *Prune* the smallest, train what is left, and store only that. But then the file
#    must say where each weight stands: it stores the number of zeros before it, in a few bits.
# 2. **Weights need not be exact.** Let the $n$ weights of a layer *share* $k$ values, found by clustering. The file
#    holds a **codebook** of $k$ numbers with 32 bits and a **code** of $\log_2 k$ bits for each weight. The shared
#    values are trained once more: all weights of a cluster move together.
# 3. **Codes are not equally frequent.** *Huffman's* code words are short for frequent codes and long for rare ones.
#
# Counted for one layer of $n$ weights with $k$ shared values, stage 2 alone gives the rate
#
# $$ r = \frac{32\, n}{n \log_2 k + 32\, k} , $$
#
# and the whole lab is about what the other stages add to it, and what they cost. Pruning and sharing cost accuracy, and
# a little training after each brings part of it back.
#
# The picture is what the codes of a layer look like: a weight, its code, its value from the codebook. **Code 0 stands
# for "pruned", and entry 0 of every codebook is 0**: so of $2^b$ codes, $2^b - 1$ are for clusters.

# %% tags=["explore"]
kept = torch.tensor(
    [[2.09, -0.98, 1.48, 0.09], [0.05, -0.14, -1.08, 2.12], [-0.91, 1.92, 0, -1.03], [1.87, 0, 1.53, 1.49]]
)
book = torch.tensor([0, -1.0, 1.5, 2.0])
shared = torch.where(kept.abs() < 0.5, 0, (kept[..., None] - book).abs().argmin(-1))
figure, axes = plt.subplots(1, 3, figsize=(9.5, 3))
for ax, title, values, form in (
    (axes[0], "weights (32 bits each)", kept, "{:.2f}"),
    (axes[1], "codes (2 bits each)", shared, "{}"),
    (axes[2], "what the network computes with", book[shared], "{:.1f}"),
):
    ax.imshow(shared, cmap="Blues", vmin=-0.5, vmax=6)
    for (row, column), value in zip(itertools.product(range(4), repeat=2), values.flatten().tolist(), strict=True):
        ax.text(column, row, form.format(value), ha="center", va="center", fontsize=10)
    ax.set(title=title, xticks=[], yticks=[])
    ax.grid(False)
plt.show()
print("codebook:", book.tolist(), f"rate without gaps: {32 * 16 / (16 * 2 + 4 * 32):.1f}")

# %% [markdown]
# ## Exercise 1: prune, and keep pruned
#
# The weights of smallest magnitude go. What is left is trained, and the network adapts; but an optimizer moves *every*
# parameter, pruned ones too: by their gradient, by momentum that they still have, by weight decay. So after each step
# they are set to 0 again.
#
# Example: of $(0.5, -0.1, 0.3, -2)$ a share of 0.5 leaves $(0.5, 0, 0, -2)$.


# %% nbgrader={"grade_id": "prune", "solution": true}
def prune(weight, share):
    """The smallest weights set to 0.

    Args:
        weight: tensor of any shape with N numbers, float32 or float64, finite. It is not changed.
        share: number from 0 to 1, how much is pruned: round(share * N) weights, with Python's round.

    Returns:
        A tuple (pruned, mask) of new tensors of weight's shape: mask, bool, is False for the round(share * N) weights
        of smallest magnitude (of equal magnitudes any may go), else True; pruned, of weight's dtype, is weight where
        mask is True, else 0.

    Raises:
        ValueError: if share is below 0 or above 1.
    """
    ### BEGIN SOLUTION
    if not 0 <= share <= 1:
        raise ValueError(f"a share lies between 0 and 1, this one is {share}")
    mask = torch.ones(weight.numel(), dtype=torch.bool)
    mask[weight.abs().flatten().argsort()[: round(share * weight.numel())]] = False
    mask = mask.reshape(weight.shape)
    return torch.where(mask, weight, 0.0), mask
    ### END SOLUTION


def prune_with_mask(optimizer, masks):
    """One training step that leaves pruned weights at 0.

    Args:
        optimizer: an object whose method step() moves parameters by the gradients that they have, as those of
            torch.optim do. Nothing else of it is used.
        masks: list of pairs (parameter, mask): one of its parameters (the nn.Parameter itself) and a bool tensor of its
            shape. Masks are not changed.

    Makes one step of the optimizer. Afterwards a parameter is 0 where its mask is False; elsewhere, and where there is
    no mask for it, it is what the optimizer alone made of it. It is still the same object. What the optimizer makes of
    a parameter is finite; gradients may change. Returns None.
    """
    ### BEGIN SOLUTION
    optimizer.step()
    with torch.no_grad():
        for parameter, mask in masks:
            parameter.mul_(mask)
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_prune", "grade": true, "points": 3}
@probe
def written_over(weight, share):
    """weight, after the student's result for it was written over."""
    weight = weight.clone()
    prune(weight, share)[0].fill_(77)
    return weight


@probe
def steps_of(rate, momentum, decay, start, masks, gradients):
    """The parameters after each of the student's steps; the first gradients are for a step before the pruning."""
    parameters = [nn.Parameter(values.clone()) for values in start]
    velocities = [torch.zeros_like(values) for values in start]

    class Optimizer:
        def step(self):
            with torch.no_grad():
                for p, velocity in zip(parameters, velocities, strict=True):
                    velocity.mul_(momentum).add_(p.grad + decay * p)
                    p.sub_(rate * velocity)

    optimizer, history = Optimizer(), []
    pairs = [(p, mask) for p, mask in zip(parameters, masks, strict=True) if mask is not None]
    for number, slopes in enumerate(gradients):
        for p in parameters:
            p.grad = None
        sum((p * g).sum() for p, g in zip(parameters, slopes, strict=True)).backward()
        if number == 0:
            optimizer.step()
        else:
            prune_with_mask(optimizer, pairs)
            history.append([p.detach().clone() for p in parameters])
    return history


with check("prune"):
    many = "mask is False for round(share * N) weights"
    smallest = "no weight that is kept is smaller than one that is pruned"
    values = "pruned is weight where mask is True, else 0"
    kind = "pruned has weight's shape and dtype, mask its shape and dtype bool"
    new = "pruned is a new tensor, also where nothing is pruned"
    limits = "a share below 0 or above 1 is refused with a ValueError"
    zero = "after each step a parameter is 0 where its mask is False"
    moves = "elsewhere a parameter is what the optimizer alone makes of it"
    hints = {
        many: "Python's round, of share times the number of all weights; equal magnitudes must not change the count",
        smallest: "by magnitude, and over the whole tensor: what do you sort?",
        values: "which weights does your mask let through?",
        kind: "which step loses the shape, or makes another type?",
        new: "who writes into your result should not write into weight, too",
        limits: "compare share with both ends before you do anything else",
        zero: "what else moves a parameter besides its gradient, and which line comes last?",
        moves: "one step, and then only what the mask says",
    }

    def try_prune(rule, weight, share, given=None):
        """One case, from the definition."""
        given = f"{given or f'weight = {weight.tolist()}'}, share {share}"
        before = state_of(weight)
        result = expect_returns(lambda: prune(weight, share), rule, given=given, hint=hints[rule])
        expect_unchanged(before, state_of(weight), "weight is not changed", hint="which line writes into it?")
        expect(isinstance(result, tuple) and len(result) == 2, kind, given=given, got=result, hint=hints[kind])
        pruned, mask = result
        expect_type(pruned, weight.dtype, kind, shape=weight.shape, given=given, hint=hints[kind])
        expect_type(mask, torch.bool, kind, shape=weight.shape, given=given, hint=hints[kind])
        expect_equal((~mask).sum(), round(share * weight.numel()), many, given=given, hint=hints[many])
        gone, left = weight[~mask].abs(), weight[mask].abs()
        if len(gone) and len(left):
            least, most = left.min().item(), gone.max().item()
            told = f"{least:.9g} kept and {most:.9g} pruned"
            expect(least >= most, smallest, given=given, got=told, hint=hints[smallest])
        expect_equal(pruned, weight.where(mask, 0.0), values, given=given, hint=hints[values])

    for dtype in (torch.float32, torch.float64):
        try_prune(values, torch.tensor([0.5, -0.1, 0.3, -2.0], dtype=dtype), 0.5)
        try_prune(smallest, torch.tensor([[-3.0, 0.2], [-0.1, 1.0], [0.3, -0.4]], dtype=dtype), 0.5)
        try_prune(many, torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0, 2.0], dtype=dtype), 0.5)  # five are equal
        try_prune(many, torch.tensor([0.0, 0.0, -0.0, 1.0, 5.0], dtype=dtype), 0.2)  # three are 0 already
        try_prune(values, torch.tensor([1e-30, -2e-30, 3e30, -1e-38], dtype=dtype), 0.75)
    odd = torch.tensor([4.0, -1.0, 3.0, -2.0, 5.0])
    for share in (0, 0.1, 0.3, 0.5, 0.7, 0.71, 1):  # 2.5 and 3.5 go to the even number
        try_prune(many, odd, share)
    for share in (0, 0.5):
        got = expect_returns(lambda share=share: written_over(odd, share), new, given=f"share {share}")
        given = f"weight = {odd.tolist()}, share {share}, then the result is written over"
        expect_equal(got, odd, new, given=given, hint=hints[new])
    g = generator()
    for form, weight in forms(torch.randn(3, 4, 5, generator=g), (torch.float32, torch.float64)):
        for share in (0.25, 0.9):
            try_prune(smallest, weight, share, f"drawn, {form}")
    for share in (-0.01, 1.01, -1e-9, 1 + 1e-9, 50):
        expect_raises(ValueError, lambda share=share: prune(odd, share), limits, given=share, hint=hints[limits])
    own, hint = "each call goes by the weight that it gets", "what is kept between two calls?"
    for results in reused(prune, [(torch.tensor([1.0, -3.0]), 0.5), (torch.tensor([-4.0, 2.0]), 0.5)]):
        for (pruned, mask), expected in zip(results, ([0, -3], [-4, 0]), strict=True):
            expect_equal(pruned, expected, own, given="the same weight, with other values", hint=hint)
            expect_equal(mask, [v != 0 for v in expected], own, given="the same weight, with other values", hint=hint)

    def try_steps(rate, momentum, decay, start, masks, gradients):
        """Steps from the definition: momentum and weight decay, then zeros."""
        given = f"rate {rate}, momentum {momentum}, weight decay {decay}, drawn parameters, one step before the pruning"
        history = expect_returns(
            lambda: steps_of(rate, momentum, decay, start, masks, gradients), moves, given=given, hint=hints[moves]
        )
        for place, (p, mask) in enumerate(zip(start, masks, strict=True)):
            mask = torch.ones_like(p, dtype=torch.bool) if mask is None else mask
            p, velocity = p.clone(), torch.zeros_like(p)
            for number, slopes in enumerate(gradients):
                velocity = momentum * velocity + slopes[place] + decay * p
                p = p - rate * velocity
                if number == 0:
                    continue
                p = p.where(mask, 0.0)
                got, step = history[number - 1][place], f"{given}, step {number} after it"
                expect_type(got, p.dtype, moves, shape=p.shape, given=step, hint=hints[moves])
                expect_equal(got.where(~mask, 0.0), torch.zeros_like(got), zero, given=step, hint=hints[zero])
                eps = 16 * torch.finfo(p.dtype).eps * (p.abs() + 1)  # a few operations on numbers up to a few units
                expect_close(got, p, moves, within=eps, given=step, hint=hints[moves])

    def draw(dtype, *shape):
        return torch.randn(*shape, generator=g, dtype=dtype)

    for dtype in (torch.float32, torch.float64):
        shapes_of = ((3, 4), (5,), (2, 3, 2))
        for rate, momentum, decay in ((0.1, 0.0, 0.0), (0.1, 0.9, 0.0), (0.1, 0.5, 0.01)):
            start = [draw(dtype, *shape) for shape in shapes_of]
            masks = [draw(dtype, 3, 4) > 0, None, torch.zeros(2, 3, 2, dtype=torch.bool)]
            masks[0][0] = torch.tensor([True, False, True, False])
            try_steps(rate, momentum, decay, start, masks, [[draw(dtype, *s) for s in shapes_of] for _ in range(4)])
    ### BEGIN HIDDEN TESTS
    for count in (1, 2, 1009):
        for share in (0.1, 0.5, 0.617, 0.95):
            try_prune(smallest, torch.randn(count, generator=g), share, f"{count} drawn weights")
    start, slopes = [draw(torch.float32, 7, 2)], [[draw(torch.float32, 7, 2)] for _ in range(6)]
    try_steps(0.2, 0.8, 0.0, start, [draw(torch.float32, 7, 2) > -0.5], slopes)
    try_steps(0.01, 0.5, 0.1, start, [draw(torch.float32, 7, 2) > 0], slopes)
    ### END HIDDEN TESTS

# %% [markdown]
# **How much can go?** The network is `ClassyClassifier`, trained on generated images of ten shapes, all five layers
# pruned by the same share. The left columns are without training, the right ones after 30 steps of 100 images with
# your `prune_with_mask`. Up to which share does the network not care, and how far does a little training push that?

# %% tags=["explore"]
import copy

from course_utils.data import shapes
from course_utils.networks import accuracy, load_trained, normalize

network = load_trained("classyclassifier-shapes")
images, labels = shapes(train=True)
images = normalize(images)
test_images, test_labels = shapes(train=False, count=2000)
test_images = normalize(test_images)
# the three colours of a pixel side by side in memory: convolutions and pooling are quicker so
images, test_images = (x.to(memory_format=torch.channels_last) for x in (images, test_images))


def layers_of(network):
    """name -> each layer with weights."""
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)}


def prune_network(network, shares):
    """A pruned copy, and the masks as `prune_with_mask` takes them; a share for each layer, or one for all."""
    pruned = copy.deepcopy(network)
    masks = []
    for name, layer in layers_of(pruned).items():
        share = shares[name] if isinstance(shares, dict) else shares
        layer.weight.data, mask = prune(layer.weight.detach(), share)
        masks.append((layer.weight, mask))
    return pruned, masks


def train(network, steps, step, rate, seed=0):
    """Some steps of 100 images each, with a rate that falls to 0; `step(optimizer)` makes one."""
    optimizer = torch.optim.SGD(network.parameters(), rate, momentum=0.9)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    g = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        batch = torch.randint(len(images), (100,), generator=g)
        optimizer.zero_grad()
        F.cross_entropy(network(images[batch]), labels[batch]).backward()
        step(optimizer)
        falling.step()


def right(network):
    """Percent of the test images that are recognised."""
    return 100 * accuracy(network, test_images, test_labels)


float_percent = right(network)
chance = 100 * math.sqrt(0.85 * 0.15 / len(test_images))
print(f"float: {float_percent:.2f} % of {len(test_images):,} test images; ", end="")
print(f"by chance a percentage near 85 is off by {chance:.1f} (standard deviation)")
print("share pruned   without training   after 30 steps")
shares_tried, before_training, after_training = (0.3, 0.5, 0.7, 0.8, 0.9), [], []
for share in shares_tried:
    pruned, masks = prune_network(network, share)
    before_training.append(right(pruned))
    train(pruned, 30, lambda optimizer, masks=masks: prune_with_mask(optimizer, masks), rate=0.02)
    after_training.append(right(pruned))
    print(f"{share:12.2f}{before_training[-1]:17.2f} %{after_training[-1]:15.2f} %")

# %% tags=["explore"]
figure, ax = plt.subplots(figsize=(6.4, 3.4))
ax.plot(shares_tried, before_training, "o--", color=COLOURS["vermillion"], label="without training")
ax.plot(shares_tried, after_training, "s-", color=COLOURS["blue"], label="after 30 steps")
ax.axhline(float_percent, color="0.5", linewidth=1, label="float, nothing pruned")
ax.set(xlabel="share of the weights pruned", ylabel="test images recognised (%)", title="What can be left out")
ax.legend(fontsize=8)
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# Three weights of ten go unnoticed: they are small, and their products hardly move a sum. Beyond that the accuracy
# falls, slowly and then fast. Training brings most of it back up to a share of 0.8, because the weights that are
# left take over what the others did; at 0.9 these few steps bring back little. The paper prunes in several rounds with
# training between them.
#
# </details>
#
# ## Exercise 2: where to begin
#
# k-means needs first centroids, and the paper compares three ways to place $k$ of them (its figure is drawn below, with
# your function):
#
# - **linear**: evenly between the smallest and the largest weight, $c_i = \min + \frac{i}{k-1} (\max - \min)$, $i = 0
#   \dots k-1$,
# - **density-based**: evenly in the cumulative distribution, so where there are many weights there are many centroids:
#   the quantiles $\frac{i + 1/2}{k}$ of the weights,
# - **random**: $k$ of the weights.
#
# Example: for the weights $(0, 1, 2, 3, 100)$ and $k = 2$, linear gives $(0, 100)$. The quantiles 1/4 and 3/4 lie at
# the places 1 and 3 of the sorted weights, counted from 0: density-based gives $(1, 3)$.


# %% nbgrader={"grade_id": "initial_codebook", "solution": true}
def initial_codebook(weights, count, init):
    """First centroids for k-means.

    Args:
        weights: tensor (N,), float32 or float64, finite, magnitudes up to 1e30. It is not changed.
        count: how many centroids, a whole number from 2 to N.
        init: "linear", "density" or "random".

    Returns:
        A new tensor (count,) of weights' dtype, none smaller than the one before it.
        "linear": min + i (max - min) / (count - 1) for i = 0 .. count - 1.
        "density": the quantiles (i + 1/2) / count of the weights, i = 0 .. count - 1, with linear interpolation between
        neighbours, as torch.quantile and numpy.quantile have them.
        "random": the weights at count different places. In each call they are drawn anew; all choices are equally
        likely.

    Raises:
        ValueError: if init is none of the three.
    """
    ### BEGIN SOLUTION
    if init == "linear":
        return torch.linspace(weights.min(), weights.max(), count, dtype=weights.dtype)
    if init == "density":
        return weights.quantile((torch.arange(count, dtype=weights.dtype) + 0.5) / count)
    if init == "random":
        return weights[torch.randperm(len(weights))[:count]].sort().values
    raise ValueError(f"init is linear, density or random, not {init!r}")
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_initial_codebook", "grade": true, "points": 2}
with check("initial_codebook"):
    linear = "linear: count centroids evenly from the smallest to the largest weight"
    density = "density: the quantiles (i + 1/2) / count"
    places = "random: the weights at count different places"
    anew = "random: drawn anew in each call, all choices equally likely"
    kind = "the result is a tensor (count,) of weights' dtype, in increasing order"
    others = "another init is refused with a ValueError"
    hints = {
        linear: "both ends belong to it: into how many steps does that divide the range?",
        density: "what are the quantiles for one of two centroids: 0 and 1, or 1/4 and 3/4?",
        places: "the same place twice is one centroid less",
        anew: "is anything fixed between two calls, or left out?",
        kind: "sorted, and of the dtype of weights?",
        others: "what does your code do with a name that it does not know?",
    }
    leaves_alone = watched(initial_codebook, "weights are not changed", hint="methods that end in _ write in place")

    def try_first(weights, count, init, given=None):
        """One case, from the definition."""
        rule = {"linear": linear, "density": density, "random": places}[init]
        given = f"{given or f'weights = {weights.tolist()}'}, count {count}, {init}"
        got = leaves_alone(weights, count, init)
        expect_type(got, weights.dtype, kind, shape=(count,), given=given, hint=hints[kind])
        sorted_weights = weights.double().sort().values
        if init == "random":
            inside = torch.isin(got, weights)
            expect(inside.all(), rule, given=given, expected="weights", got=got[~inside], hint=hints[rule])
            often = [value for value in got.unique() if (got == value).sum() > (weights == value).sum()]
            expect(not often, rule, given=given, expected="no weight more often than it is there", got=got)
        else:
            steps = torch.arange(count, dtype=torch.float64)
            if init == "linear":
                low, high = sorted_weights[0], sorted_weights[-1]
                expected = low + steps / (count - 1) * (high - low)
            else:
                place = (steps + 0.5) / count * (len(weights) - 1)
                left, right_ = sorted_weights[place.floor().long()], sorted_weights[place.ceil().long()]
                expected = left + (place - place.floor()) * (right_ - left)
            # a place among N numbers, and a sum, each rounded to the dtype
            within = 8 * torch.finfo(weights.dtype).eps * len(weights) * weights.double().abs().max()
            expect_close(got, expected, rule, within=within, given=given, hint=hints[rule])
        expect((got.diff() >= 0).all(), kind, given=given, expected="increasing order", got=got, hint=hints[kind])

    g = generator()
    for dtype in (torch.float32, torch.float64):
        five = torch.tensor([3.0, 0.0, 100.0, 1.0, 2.0], dtype=dtype)
        for weights in (five, -five, five * 1e-30, torch.tensor([0.5, 0.25, 0.25, -0.5, 0.25, 0.5], dtype=dtype)):
            for count in (2, 3, 5):
                for init in ("linear", "density", "random"):
                    try_first(weights, count, init)
        for n, count in ((64, 7), (101, 15), (1000, 31)):
            drawn = torch.randn(n, generator=g, dtype=dtype) + 0.5
            for init in ("linear", "density", "random"):
                try_first(drawn, count, init, f"{n} drawn weights")
        for init in ("linear", "density", "random"):
            try_first(torch.randn(40, 2, generator=g, dtype=dtype)[:, 1], 4, init, "40 drawn weights, not contiguous")
    ten = torch.arange(10.0)
    draws = expect_returns(lambda: [initial_codebook(ten, 2, "random").tolist() for _ in range(250)], anew)
    counts = torch.tensor([[value in draw for value in range(10)] for draw in draws]).sum(0)
    # each weight is in 50 of 250 on average, with a deviation of 6.3: 0 and 120 are 8 and 11 of these away
    told = f"0 .. 9 drawn {counts.tolist()} times"
    expect(((counts > 0) & (counts < 120)).all(), anew, given="0 .. 9, count 2, 250 calls", got=told, hint=hints[anew])
    pairs = torch.tensor([[abs(b - a) == 1 for a, b in draws]]).sum()  # 50 on average
    expect(pairs < 120, anew, given="0 .. 9, count 2, 250 calls", got=f"{pairs} times neighbours", hint=hints[anew])
    for name in ("Linear", "uniform", "", None):
        expect_raises(
            ValueError, lambda name=name: initial_codebook(ten, 2, name), others, given=name, hint=hints[others]
        )
    own, hint = "each call goes by the weights that it gets", "what is kept between two calls?"
    for init, expected in (("linear", [[0, 4], [2, 6]]), ("density", [[1, 3], [3, 5]])):
        sets = [(torch.tensor([0.0, 4.0, 2.0]), 2, init), (torch.tensor([6.0, 4.0, 2.0]), 2, init)]
        for results in reused(initial_codebook, sets):
            expect_equal(results, expected, own, given="the same weights, with other values", hint=hint)
    ### BEGIN HIDDEN TESTS
    for n, count in ((5, 4), (77, 20), (3001, 63)):
        for init in ("linear", "density", "random"):
            try_first(torch.randn(n, generator=g, dtype=torch.float64).exp(), count, init, f"{n} drawn weights")
            try_first(torch.randn(n, generator=g), count, init, f"{n} drawn weights")
    ### END HIDDEN TESTS

# %% [markdown]
# **The document's picture.** Below are the weights of a convolution that are left when half of them are pruned, their
# cumulative distribution, and 15 first centroids of each kind. Which kind puts centroids at the largest weights, and
# which wastes them?

# %% tags=["explore"]
layer = network.layer3_conv.weight.detach()
left_weights = layer[prune(layer, 0.5)[1]]
torch.manual_seed(0)
figure, ax = plt.subplots(figsize=(8.6, 4))
ax.hist(left_weights.numpy(), 101, density=True, color=COLOURS["sky"], label="weights (density)")
ax.set(
    xlabel="value of a weight",
    ylabel="density",
    title=f"{len(left_weights):,} weights that are left, 15 first centroids",
)
ax.legend(loc="center left", fontsize=8)
right_ax = ax.twinx()
right_ax.plot(left_weights.sort().values, torch.linspace(0, 1, len(left_weights)), color=COLOURS["black"], linewidth=1)
right_ax.set(ylabel="cumulative distribution", xlim=(-0.7, 0.85))
right_ax.grid(False)
for row, (init, marker) in enumerate((("linear", "o"), ("density", "s"), ("random", "^"))):
    first = initial_codebook(left_weights, 15, init)
    height = 0.3 - 0.12 * row
    colour = COLOURS[("blue", "vermillion", "green")[row]]
    right_ax.plot(first, torch.full((15,), height), marker, color=colour, markersize=6, markeredgecolor="white")
    right_ax.text(float(left_weights.max()) + 0.04, height, init, va="center", fontsize=9, color=colour)
    print(f"{init:8s} largest magnitude {first.abs().max():.3f} of {left_weights.abs().max():.3f}, ", end="")
    print(f"{int((first.abs() < left_weights.abs().min()).sum())} in the gap around 0 where no weight is")
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# Only linear centroids reach the ends. The paper argues that large weights matter most and are few, so density-based
# and random centroids represent them badly; it finds linear best. But linear centroids also stand where no weight is:
# in the gap that pruning has left around 0, which is wide when much is pruned. k-means will move all of them; whether
# the beginning still shows at the end, we shall measure.
#
# </details>
#
# ## Exercise 3: clusters
#
# Codes and values of the $k$ centroids should make the **within-cluster sum of squares** small,
#
# $$ \underset{c_1, \dots, c_k}{\arg\min} \; \sum_{j=1}^{k} \; \sum_{w \,\in\, \text{cluster } j} (w - c_j)^2 . $$
#
# Lloyd's algorithm repeats two steps, and neither can make the sum greater: each weight goes to a nearest centroid;
# each centroid moves to the mean of its weights. A centroid without weights stays where it is. When a round brings the
# same codes as the one before, nothing will ever move again.
#
# Pruned weights take no part: your function gets those that are left.


# %% nbgrader={"grade_id": "kmeans_codebook", "solution": true}
def lloyd_step(weights, codebook):
    """One round of Lloyd's algorithm.

    Args:
        weights: tensor (N,), float32 or float64, finite, N >= 1.
        codebook: tensor (k,) of weights' dtype, finite, strictly increasing, k >= 1. Neither is changed.

    Returns:
        A tuple (codes, moved) of new tensors: codes, int64 (N,), the place in codebook of the centroid nearest to each
        weight, calculated in float64 (exactly between two, either); moved, (k,) of weights' dtype, the mean of the
        weights of each centroid, calculated in float64; a centroid without weights stays as it is.
    """
    ### BEGIN SOLUTION
    middles = (codebook[:-1].double() + codebook[1:].double()) / 2
    codes = torch.bucketize(weights.double().contiguous(), middles)
    counts = torch.bincount(codes, minlength=len(codebook))
    sums = torch.bincount(codes, weights.double(), minlength=len(codebook))
    moved = torch.where(counts > 0, sums / counts.clamp(min=1), codebook.double())
    return codes, moved.to(weights.dtype)
    ### END SOLUTION


def kmeans_codebook(weights, codebook):
    """Lloyd's algorithm, from a first codebook until nothing moves.

    Args:
        weights, codebook: as above; weights are all different. Neither is changed.

    Returns:
        A tuple (codebook, codes) of new tensors, (k,) of weights' dtype and int64 (N,): the last of the rounds, which
        follow one another as `lloyd_step` has them, until one gives the same codes as the round before it.
        So each weight's centroid is a nearest one, and each centroid that has weights is their mean, up to rounding.
        However many rounds it takes: there may be some hundreds.
    """
    ### BEGIN SOLUTION
    centroids, before = codebook.double(), None
    while True:
        codes, centroids = lloyd_step(weights.double(), centroids)
        if before is not None and torch.equal(codes, before):
            return centroids.to(weights.dtype), codes
        before = codes
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_kmeans_codebook", "grade": true, "points": 3}
with check("kmeans_codebook"):
    nearest = "each weight's code is the place of a nearest centroid"
    mean = "a centroid moves to the mean of its weights"
    stays = "a centroid without weights stays as it is"
    exact = "means are calculated in float64"
    falls = "no round makes the within-cluster sum of squares greater"
    still = "kmeans_codebook: each centroid that has weights is their mean, and each weight's centroid a nearest one"
    path = "kmeans_codebook: rounds of lloyd_step, until one gives the same codes as the round before"
    kind = "centroids are a tensor (k,) of weights' dtype, codes an int64 tensor (N,)"
    hints = {
        nearest: "compare distances, to both sides",
        mean: "how many weights does this centroid have, and what is their sum?",
        stays: "what is 0 / 0?",
        exact: "what is left of a small number that is added to a large one in float32?",
        falls: "is a weight's new centroid nearer than its old one?",
        still: "one more round must change nothing: when does yours end?",
        path: "does each round begin where the one before has ended, and the first one at the codebook that it gets?",
        kind: "which of the two comes first, and of which type is it?",
    }
    unchanged = "weights and codebook are not changed"

    def eps_of(weights):
        """A few roundings of numbers as large as the largest weight, and float64 sums of them in any order."""
        return (4 * torch.finfo(weights.dtype).eps + len(weights) * 2.0**-52) * weights.double().abs().max()

    def expect_nearest(codes, weights, centroids, rule, given):
        """Codes of the right kind that point to nearest centroids."""
        expect_type(codes, torch.int64, kind, shape=weights.shape, given=given, hint=hints[kind])
        legal = (codes >= 0) & (codes < len(centroids))
        expect(legal.all(), rule, given=given, expected=f"0 .. {len(centroids) - 1}", got=codes, hint=hints[rule])
        distance = (weights.double()[:, None] - centroids.double()).abs()
        least, taken = distance.min(1).values, distance.gather(1, codes[:, None])[:, 0]
        expect_close(taken, least, rule, within=eps_of(weights), given=given, hint=hints[rule])

    def try_step(rule, weights, codebook, given=None):
        """One round; returns what came."""
        given = given or f"weights = {weights.tolist()}, codebook = {codebook.tolist()}"
        before = state_of(weights, codebook)
        result = expect_returns(lambda: lloyd_step(weights, codebook), rule, given=given, hint=hints[rule])
        expect_unchanged(before, state_of(weights, codebook), unchanged, hint="which line writes into one?")
        expect(isinstance(result, tuple) and len(result) == 2, kind, given=given, got=result, hint=hints[kind])
        codes, moved = result
        expect_nearest(codes, weights, codebook, nearest, given)
        expect_type(moved, weights.dtype, kind, shape=codebook.shape, given=given, hint=hints[kind])
        for place, centroid in enumerate(codebook):
            own_weights = weights[codes == place].double()
            facts = f"{given}: centroid {place}"
            if len(own_weights):
                # one rounding to the dtype, and a float64 sum in any order
                within = (2 * torch.finfo(weights.dtype).eps + len(own_weights) * 2.0**-52) * own_weights.abs().mean()
                wanted = exact if rule == exact else mean
                expect_close(moved[place], own_weights.mean(), wanted, within=within, given=facts, hint=hints[wanted])
            else:
                expect_equal(moved[place], centroid, stays, given=facts, hint=hints[stays])
        return codes, moved

    def rounds(weights, codebook):
        """Lloyd's algorithm in float64, with masks."""
        centroids, before = codebook.double().clone(), None
        while True:
            codes = (weights.double()[:, None] - centroids).abs().argmin(1)
            if before is not None and torch.equal(codes, before):
                return centroids, codes
            for place in codes.unique():
                centroids[place] = weights[codes == place].double().mean()
            before = codes

    def try_kmeans(weights, codebook, given=None, ends=True):
        """The end of all rounds; `ends`: as another way to it has them, too, which needs float64 or few weights."""
        given = given or f"weights = {weights.tolist()}, codebook = {codebook.tolist()}"
        before = state_of(weights, codebook)
        result = expect_returns(lambda: kmeans_codebook(weights, codebook), path, given=given, hint=hints[path])
        expect_unchanged(before, state_of(weights, codebook), unchanged, hint="which line writes into one?")
        expect(isinstance(result, tuple) and len(result) == 2, kind, given=given, got=result, hint=hints[kind])
        centroids, codes = result
        expect_type(centroids, weights.dtype, kind, shape=codebook.shape, given=given, hint=hints[kind])
        expect_nearest(codes, weights, centroids, still, given)
        for place in codes.unique():
            own_mean = weights[codes == place].double().mean()
            facts = f"{given}: centroid {place}"
            expect_close(centroids[place], own_mean, still, within=eps_of(weights), given=facts, hint=hints[still])
        if ends:
            expect_close(
                centroids, rounds(weights, codebook)[0], path, within=eps_of(weights), given=given, hint=hints[path]
            )

    for dtype in (torch.float32, torch.float64):
        weights = torch.tensor([0.1, -1.0, 0.9, 1.1, -1.3, 0.2, 2.0], dtype=dtype)
        book = torch.tensor([-1.0, 0.0, 1.0], dtype=dtype)
        try_step(nearest, weights, book)
        try_step(mean, weights, book / 4)
        try_step(stays, weights, torch.tensor([-9.0, -1.0, 0.5, 50.0, 60.0], dtype=dtype))
        try_step(mean, weights, torch.tensor([0.5], dtype=dtype))
        try_step(mean, torch.tensor([-0.75], dtype=dtype), book)
        try_step(mean, torch.tensor([0.0, 0.0, 0.0, 1.0, 4.0], dtype=dtype), torch.tensor([0.5, 3.0], dtype=dtype))
        try_step(mean, weights * 1e-30, book * 1e-30)
        try_step(nearest, torch.tensor([0.5, -0.5, 0.5, 2.0], dtype=dtype), book)  # in the middle: either
        try_kmeans(weights, book)
        try_kmeans(weights, torch.tensor([-9.0, 0.0, 0.5, 50.0], dtype=dtype))
        try_kmeans(weights, torch.tensor([0.5], dtype=dtype))
        try_kmeans(
            torch.tensor([1.0, 2.0, 3.0, 10.0, 11.0, 30.0], dtype=dtype), torch.tensor([1.0, 2.0, 3.0], dtype=dtype)
        )
        few = torch.tensor([1.0, 2.0, 3.0, 10.0, 11.0, 30.0], dtype=dtype) * 2.0**-40
        try_kmeans(few, few[:3].clone())
        try_kmeans(torch.tensor([10.5, -20, -30], dtype=dtype), torch.tensor([10.0, 12.0], dtype=dtype))
    slow, start = torch.linspace(0, 1, 4000).double() ** 2, torch.linspace(0, 1e-3, 12).double()
    try_kmeans(
        slow, start, "float64, the squares of 4000 numbers evenly from 0 to 1, codebook evenly from 0 to 0.001", False
    )
    # near the middle of 0.1 and 0.7, closer than float32 can tell; -9.1 and 50.3 stay without weights
    near = torch.tensor([0.4 - 1e-10, 0.4 + 1e-10, 0.4 - 1e-8, 0.4 + 1e-8], dtype=torch.float64)
    book = torch.tensor([-9.1, 0.1, 0.7, 50.3], dtype=torch.float64)
    try_step(
        nearest, near, book, "float64, 0.4 - 1e-10, 0.4 + 1e-10, 0.4 - 1e-8, 0.4 + 1e-8, codebook -9.1, 0.1, 0.7, 50.3"
    )
    try_kmeans(near, book)
    # 2^24 and ones: float32 loses each one that it adds to the sum
    try_step(
        exact,
        torch.cat([torch.tensor([2.0**24]), torch.ones(5000)]),
        torch.tensor([1e6]),
        "2^24 and 5000 ones, codebook (10^6)",
    )
    g = generator()
    for n, k in ((40, 3), (500, 7), (2000, 15)):
        drawn = torch.randn(n, generator=g, dtype=torch.float64)
        first = torch.linspace(float(drawn.min()), float(drawn.max()), k, dtype=torch.float64)
        given = f"{n} drawn weights, {k} centroids evenly between the ends"
        try_kmeans(drawn, first, f"float64, {given}")
        spread = torch.stack([drawn, drawn], 1)[:, 0]
        try_kmeans(spread, first, f"float64, not contiguous, {given}")
        try_kmeans(drawn.float(), first.float(), f"float32, {given}", ends=False)
        moved, sums = first, []
        for _ in range(4):
            codes, after = try_step(mean, drawn, moved, f"float64, {given}, a few rounds on")
            sums.append(float((drawn - moved[codes]).square().sum()))
            moved = after
        expect(all(b <= a for a, b in itertools.pairwise(sums)), falls, given=given, got=sums, hint=hints[falls])
    own, hint = "each call goes by the weights and the codebook that it gets", "what is kept between two calls?"
    sets = [
        (torch.tensor([0.0, 1.0, 9.0]), torch.tensor([0.0, 8.0])),
        (torch.tensor([7.0, 1.0, 9.0]), torch.tensor([2.0, 6.0])),
    ]
    for results in reused(lloyd_step, sets):
        for (codes, moved), expected in zip(results, (([0, 0, 1], [0.5, 9]), ([1, 0, 1], [1, 8])), strict=True):
            expect_equal(codes, expected[0], own, given="the same tensors, with other values", hint=hint)
            expect_equal(moved, expected[1], own, given="the same tensors, with other values", hint=hint)
    for results in reused(kmeans_codebook, sets):
        for (moved, codes), expected in zip(results, (([0.5, 9], [0, 0, 1]), ([1, 8], [1, 0, 1])), strict=True):
            expect_equal(codes, expected[1], own, given="the same tensors, with other values", hint=hint)
            expect_equal(moved, expected[0], own, given="the same tensors, with other values", hint=hint)
    ### BEGIN HIDDEN TESTS
    for n, k in ((9, 9), (311, 4), (4001, 31)):
        drawn = torch.randn(n, generator=g, dtype=torch.float64) * 0.1 + 3
        first = drawn[torch.randperm(n, generator=g)[:k]].sort().values
        try_kmeans(drawn, first, f"{n} drawn weights, {k} of them as first centroids")
        try_step(mean, drawn.float(), first.float().unique(), f"{n} drawn weights in float32")
    ### END HIDDEN TESTS

# %% [markdown]
# **Does the beginning matter?** Sums of squares before the first round and after the last one, for the layer from
# above. Then a whole network with six of seven weights pruned, all layers with the same number of clusters: how much
# accuracy is left without any further training? And is it true that clusters gain from pruning, as the document says?

# %% tags=["explore"]
SHARES = {"layer1_conv": 0.3, "layer3_conv": 0.6, "layer6_fc": 0.9, "layer7_fc": 0.8, "layer8_fc": 0.5}
PRUNING_STEPS = 220

sparse, sparse_masks = prune_network(network, SHARES)
train(sparse, PRUNING_STEPS, lambda optimizer: prune_with_mask(optimizer, sparse_masks), rate=0.03)
kept_weights = sum(int(mask.sum()) for _, mask in sparse_masks)
all_weights = sum(mask.numel() for _, mask in sparse_masks)
print(f"{kept_weights:,} of {all_weights:,} weights are left ({100 * kept_weights / all_weights:.1f} %); ", end="")
print(f"{right(sparse):.2f} % of the test images (float: {float_percent:.2f} %)")


def cluster(network, bits, init):
    """Codebooks and codes of each layer, with entry 0 for pruned weights, and a copy of the network that uses them."""
    shared, books, codes = copy.deepcopy(network), {}, {}
    for name, layer in layers_of(shared).items():
        weight = layer.weight.detach()
        kept = weight != 0
        book, places = kmeans_codebook(weight[kept], initial_codebook(weight[kept], 2**bits - 1, init))
        books[name] = torch.cat([torch.zeros(1), book])
        codes[name] = torch.zeros_like(weight, dtype=torch.int64)
        codes[name][kept] = places + 1
        layer.weight.data = books[name][codes[name]]
    return shared, books, codes


def squares(weights, codebook):
    """The within-cluster sum of squares."""
    codes, _ = lloyd_step(weights, codebook)
    return float((weights - codebook[codes]).square().sum())


print(f"\nsum of squares, {len(left_weights):,} weights of layer3_conv in 15 clusters")
for init in ("linear", "density", "random"):
    torch.manual_seed(0)
    first = initial_codebook(left_weights, 15, init)
    last, _ = kmeans_codebook(left_weights, first)
    print(f"{init:8s} first {squares(left_weights, first):7.3f}   last {squares(left_weights, last):7.3f}")
print("\ntest images recognised, pruned network with shared weights, not trained")
print("bits     linear    density     random")
clustered = {}
for bits in (2, 3, 4):
    line = f"{bits:4d}"
    for init in ("linear", "density", "random"):
        torch.manual_seed(0)
        clustered[bits, init] = cluster(sparse, bits, init)
        line += f"{right(clustered[bits, init][0]):9.2f} %"
    print(line)
print("\nthe same for the float network, where nothing is pruned")
for bits in (2, 3):
    torch.manual_seed(0)
    line = [right(cluster(network, bits, init)[0]) for init in ("linear", "density", "random")]
    print(f"{bits:4d}" + "".join(f"{percent:9.2f} %" for percent in line))

# %% [markdown]
# <details><summary>Answer</summary>
#
# The random beginning has by far the greatest sum, and the three end close together: Lloyd's rounds make up for most of
# the beginning. They may end in different local minima, though, and which of them suits the network is luck here: a sum
# of squares counts a rare large weight like any other, the network does not.
#
# To see whether clusters gain from pruning, compare each network with itself before clustering. The pruned network
# loses less with 2 bits: no cluster is spent on weights near 0. With 3 bits both lose a few points.
#
# </details>
#
# **Watch them move.** Choose how many bits and where the centroids begin, then turn up the rounds. Which beginning
# leaves centroids without weights? Which way do centroids move that began linearly?

# %% tags=["explore"]
from course_utils.demos import codebook_demo, codebook_still

left_in = {name: layer.weight.detach()[layer.weight != 0] for name, layer in layers_of(sparse).items()}
codebook_demo(left_in, initial_codebook, lloyd_step)

# %% tags=["explore"]
codebook_still(
    left_in,
    [("layer6_fc", 4, "linear", 0), ("layer6_fc", 4, "linear", 20), ("layer6_fc", 4, "density", 20)],
    initial_codebook,
    lloyd_step,
)

# %% [markdown]
# <details><summary>Answer</summary>
#
# Linear ones can be empty: those in the gap around 0, and those far out, if the ends are outliers. Density-based and
# random ones begin among weights. From round to round linear centroids move towards the two humps, where the weights
# are, and density-based ones spread outwards.
#
# </details>

# %% [markdown]
# ## Exercise 4: train the codebook
#
# The network computes with $w_i = c_{\text{code}_i}$. So a shared value acts at all places of its cluster, and by the
# chain rule its gradient is a sum:
#
# $$ \frac{\partial L}{\partial c_j} = \sum_{i \,:\, \text{code}_i = j} \frac{\partial L}{\partial w_i} . $$
#
# The codes stay as they are; only the $k$ values move. Entry 0 stands for pruned weights and must stay 0, so its
# gradient is set to 0.
#
# Example: $\partial L / \partial w = (1, 2, 3, 4)$, codes $(2, 0, 1, 2)$, $k = 4$: the result is $(0, 3, 5, 0)$.


# %% nbgrader={"grade_id": "codebook_gradient", "solution": true}
def codebook_gradient(grad, codes, k):
    """The gradient of each entry of a codebook.

    Args:
        grad: the gradient of each weight, tensor of any shape, float32 or float64, finite.
        codes: int64 tensor of the same shape, 0 .. k - 1: the entry of the codebook that each weight is. Neither is
            changed.
        k: how many entries the codebook has, a whole number >= 1.

    Returns:
        A new tensor (k,) of grad's dtype: the sum of the gradients of the weights that have this code, calculated in
        float64; 0 for an entry that no weight has, and for entry 0, which is fixed.
    """
    ### BEGIN SOLUTION
    sums = torch.bincount(codes.flatten(), grad.double().flatten(), minlength=k)
    sums[0] = 0
    return sums.to(grad.dtype)
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_codebook_gradient", "grade": true, "points": 2}
with check("codebook_gradient"):
    sums = "the sum of the gradients of the weights that have this code"
    fixed = "entry 0 is fixed: its gradient is 0"
    none = "an entry that no weight has gets 0"
    exact = "sums are calculated in float64"
    kind = "the result is a tensor (k,) of grad's dtype"
    hints = {
        sums: "each weight adds to one entry; what happens to the second weight with the same code?",
        fixed: "entry 0 is for pruned weights",
        none: "how many entries does your result have if the last codes do not occur?",
        exact: "what is left of a small number that is added to a large one in float32?",
        kind: "one number for each entry of the codebook",
    }

    def try_gradient(rule, grad, codes, k, given=None):
        """Against autograd through the lookup, in float64."""
        given = given or f"grad = {grad.tolist()}, codes = {codes.tolist()}, k = {k}"
        book = torch.zeros(k, dtype=torch.float64, requires_grad=True)
        (book[codes] * grad.double()).sum().backward()
        size = torch.zeros(k, dtype=torch.float64).index_add_(0, codes.flatten(), grad.double().abs().flatten())
        before = state_of(grad, codes)
        got = expect_returns(lambda: codebook_gradient(grad, codes, k), rule, given=given, hint=hints[rule])
        expect_unchanged(
            before, state_of(grad, codes), "grad and codes are not changed", hint="which line writes into one?"
        )
        expect_type(got, grad.dtype, kind, shape=(k,), given=given, hint=hints[kind])
        expect_equal(got[0], 0, fixed, given=given, hint=hints[fixed])
        unused = torch.bincount(codes.flatten(), minlength=k) == 0
        expect_equal(got[unused], torch.zeros(int(unused.sum())), none, given=given, hint=hints[none])
        # one rounding to the dtype, and a float64 sum in any order
        within = torch.finfo(grad.dtype).eps * book.grad.abs() + grad.numel() * 2.0**-52 * size
        expect_close(got[1:], book.grad[1:], rule, within=within[1:], given=given, hint=hints[rule])

    for dtype in (torch.float32, torch.float64):
        try_gradient(sums, torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=dtype), torch.tensor([2, 0, 1, 2]), 4)
        try_gradient(sums, torch.tensor([[1.0, -2.0], [0.5, 8.0]], dtype=dtype), torch.tensor([[1, 1], [3, 1]]), 4)
        try_gradient(none, torch.tensor([1.0, 2.0], dtype=dtype), torch.tensor([1, 1]), 9)
        try_gradient(fixed, torch.tensor([1.0, 2.0], dtype=dtype), torch.tensor([0, 0]), 1)
        try_gradient(sums, torch.tensor([1.0, 3.0, -2.0], dtype=dtype) * 2.0**-100, torch.tensor([1, 2, 1]), 3)
    grad = torch.cat([torch.tensor([2.0**24]), torch.ones(5000)])
    try_gradient(exact, grad, torch.ones(5001, dtype=torch.int64), 2, "2^24 and 5000 ones, all with code 1, k = 2")
    grad = torch.tensor([2.0**25 + 2.0**-20, 1.0 + 2.0**-20], dtype=torch.float64)
    try_gradient(exact, grad, torch.tensor([1, 1]), 2, "float64, 2^25 and 1, each plus 2^-20, both with code 1, k = 2")
    g = generator()
    drawn, chosen = torch.randn(3, 4, 5, generator=g), torch.randint(0, 7, (3, 4, 5), generator=g)
    inputs = zip(forms(drawn, (torch.float32, torch.float64)), forms(chosen, (torch.int64, torch.int64)), strict=True)
    for (form, grad), (_, codes) in inputs:
        try_gradient(sums, grad, codes, 7, f"drawn, {form}, k = 7")
    own, hint = "each call goes by the gradients and codes that it gets", "what is kept between two calls?"
    sets = [(torch.tensor([1.0, 2.0]), torch.tensor([1, 1]), 3), (torch.tensor([5.0, 7.0]), torch.tensor([2, 1]), 3)]
    for results in reused(codebook_gradient, sets):
        expect_equal(results, [[0, 3, 0], [0, 7, 5]], own, given="the same tensors, with other values", hint=hint)
    ### BEGIN HIDDEN TESTS
    for n, k in ((1, 2), (1009, 16), (20_011, 256)):
        codes = torch.randint(0, k, (n,), generator=g)
        try_gradient(sums, torch.randn(n, generator=g), codes, k, f"{n} drawn gradients, k = {k}")
        try_gradient(sums, torch.randn(n, generator=g, dtype=torch.float64), codes, k, f"{n} drawn gradients, k = {k}")
    ### END HIDDEN TESTS

# %% [markdown]
# **Fine-tuning.** The pruned network with shared weights, before and after training its codebooks by your gradient (30
# steps). Which beginning wins at the end, and how many bits are enough?

# %% tags=["explore"]
FINE_TUNING_STEPS = 30


def train_codebooks(network, books, codes, steps):
    """Trains the shared values (and the biases); `books` follow."""
    layers = layers_of(network)
    optimizer = torch.optim.SGD(list(books.values()), 0.0003, momentum=0.9)

    def step(of_biases):
        for name, layer in layers.items():
            books[name].grad = codebook_gradient(layer.weight.grad, codes[name], len(books[name]))
        weights = [(layer.weight, layer.weight.grad) for layer in layers.values()]
        for weight, _ in weights:
            weight.grad = None  # of these the optimizer of all parameters moves none
        of_biases.step()
        optimizer.step()
        for name, layer in layers.items():
            layer.weight.data = books[name][codes[name]]

    train(network, steps, step, rate=0.002)


tuned = {}
print("test images recognised after training the codebooks (before: see above)")
for bits, init in (*itertools.product((2, 3), ("linear", "density", "random")), (4, "linear")):
    shared, books, codes = copy.deepcopy(clustered[bits, init])
    train_codebooks(shared, books, codes, FINE_TUNING_STEPS)
    tuned[bits, init] = shared, books, codes, right(shared)
    print(f"{bits} bits, {init:8s}{tuned[bits, init][-1]:8.2f} %")

# %% [markdown]
# <details><summary>Answer</summary>
#
# The beginning still shows at the end where bits are few: with 2 bits, three shared values a layer, linear is ahead
# before the training and after it, as in the paper's figure. Training brings back a part of what 2 bits have lost, and
# a little of what 3 bits have; with 4 bits there is nothing to bring back. (The rate is small, because the gradient of
# a shared value is a sum over hundreds of weights: at the rate of single weights its steps would be far too long.)
#
# </details>
#
# ## Exercise 5: where the weights stand
#
# Only the weights that are left are stored, one after the other, row by row. For each
# the file says how many zeros it has skipped since the one before: the **gap**. With $b$ bits a gap is at most
# $2^b - 1$. Where more zeros have to be skipped, there is a **filler**: an entry with the greatest gap and code 0, the
# weight of value 0. A filler is an entry like any other: it skips $2^b - 1$ zeros and stands for one more, so it
# accounts for $2^b$ zeros. Behind the last weight that is left, nothing is stored.
#
# Example with 2 bits, gaps of 0 to 3: $(0, w, 0, 0, 0, 0, 0, v, u, 0)$ gives the gaps $1, 3, 1, 0$. The second one is
# a filler: of the five zeros before $v$ it accounts for four.


# %% nbgrader={"grade_id": "relative_positions", "solution": true}
def relative_positions(mask, bits):
    """The gaps before the weights that are left, fillers included.

    Args:
        mask: bool tensor of any shape, True for the weights that are left; the last index counts fastest. It is not
            changed.
        bits: how many bits a gap has, a whole number from 1 to 32.

    Returns:
        A tuple (gaps, kept) of new tensors (E,), one element for each entry, in order: gaps, int64, how many zeros are
        skipped before it, 0 .. 2^bits - 1; kept, bool, True for a weight and False for a filler. There are only as many
        fillers as needed, all with the gap 2^bits - 1. Behind the last weight there is no entry.
    """
    ### BEGIN SOLUTION
    places = mask.flatten().nonzero().flatten()
    zeros = places.diff(prepend=torch.tensor([-1])) - 1
    fillers = zeros // 2**bits
    ends = (fillers + 1).cumsum(0) - 1  # the entries of the weights
    entries = int(ends[-1]) + 1 if len(ends) else 0
    gaps, kept = torch.full((entries,), 2**bits - 1), torch.zeros(entries, dtype=torch.bool)
    gaps[ends], kept[ends] = zeros % 2**bits, True
    return gaps, kept
    ### END SOLUTION


def mask_of_positions(gaps, kept, shape):
    """Back: which weights are left.

    Args:
        gaps, kept: as above, but the last entry may be a filler, too. Neither is changed.
        shape: tuple of whole numbers, the shape of the mask.

    Returns:
        A new bool tensor of that shape: True at the weights, False elsewhere.

    Raises:
        ValueError: if an entry lies beyond the last place of that shape.
    """
    ### BEGIN SOLUTION
    places = (gaps + 1).cumsum(0) - 1
    mask = torch.zeros(math.prod(shape), dtype=torch.bool)
    if len(places) and places[-1] >= len(mask):
        raise ValueError(f"an entry stands at {int(places[-1])}, and there are {len(mask)} places")
    mask[places[kept]] = True
    return mask.reshape(shape)
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_relative_positions", "grade": true, "points": 3}
with check("relative_positions"):
    skipped = "a gap is the number of zeros skipped before its entry"
    filler = "where a gap does not fit there is a filler, as often as needed, which accounts for 2^bits zeros"
    last = "behind the last weight there is no entry"
    kind = "gaps are an int64 tensor (E,), kept is a bool tensor (E,)"
    back = "mask_of_positions: True at the weights, False elsewhere"
    shaped = "mask_of_positions gives a bool tensor of the shape asked for"
    beyond = "mask_of_positions refuses an entry beyond the last place with a ValueError"
    hints = {
        skipped: "from the entry before it, not from the beginning; the first one counts from the first place",
        filler: "skip 2^bits - 1, and the filler itself stands on one more: what is left?",
        last: "which weight would such an entry be for?",
        kind: "two tensors of the same length, also where there is nothing",
        back: "an entry stands one further than what it skips; which entries are weights?",
        shaped: "how many places has the shape?",
        beyond: "fillers count, too; and which place is the last?",
    }

    def entries_of(mask, bits):
        """Gaps and kept, by cutting a text of 0 and 1 at each 1."""
        gaps, kept = [], []
        for run in "".join("1" if m else "0" for m in mask.flatten().tolist()).split("1")[:-1]:
            gaps += [2**bits - 1] * (len(run) // 2**bits) + [len(run) % 2**bits]
            kept += [False] * (len(run) // 2**bits) + [True]
        return torch.tensor(gaps, dtype=torch.int64), torch.tensor(kept, dtype=torch.bool)

    def try_positions(rule, mask, bits, given=None):
        """There."""
        mask = torch.as_tensor(mask) > 0
        given = f"{given or f'mask = {mask.int().tolist()}'}, {bits} bits"
        before = state_of(mask)
        result = expect_returns(lambda: relative_positions(mask, bits), rule, given=given, hint=hints[rule])
        expect_unchanged(before, state_of(mask), "mask is not changed", hint="which line writes into it?")
        expect(isinstance(result, tuple) and len(result) == 2, kind, given=given, got=result, hint=hints[kind])
        gaps, kept = entries_of(mask, bits)
        expect_type(result[0], torch.int64, kind, shape=result[0].shape[:1], given=given, hint=hints[kind])
        expect_type(result[1], torch.bool, kind, shape=result[0].shape, given=given, hint=hints[kind])
        expect_equal(result[0], gaps, rule, given=given, hint=hints[rule])
        expect_equal(result[1], kept, rule, given=given, hint=hints[rule])

    def try_back(rule, mask, bits, given=None):
        """And back, from right gaps."""
        mask = torch.as_tensor(mask) > 0
        gaps, kept = entries_of(mask, bits)
        given = f"{given or f'gaps = {gaps.tolist()}, kept = {kept.int().tolist()}'}, shape {tuple(mask.shape)}"
        before = state_of(gaps, kept)
        got = expect_returns(
            lambda: mask_of_positions(gaps, kept, tuple(mask.shape)), rule, given=given, hint=hints[rule]
        )
        expect_unchanged(
            before, state_of(gaps, kept), "gaps and kept are not changed", hint="which line writes into one?"
        )
        expect_type(got, torch.bool, shaped, shape=mask.shape, given=given, hint=hints[shaped])
        expect_equal(got, mask, rule, given=given, hint=hints[rule])

    def zeros_before(*runs):
        """A mask with so many zeros before each weight."""
        return torch.cat([torch.tensor([0] * run + [1]) for run in runs])

    for rule, mask, bits in (
        (skipped, [1, 0, 1, 0, 0, 1], 2),
        (filler, [0, 1, 0, 0, 0, 0, 0, 1, 1, 0], 2),
        (skipped, [1, 1, 1], 3),
        (skipped, [[0, 0, 1], [0, 1, 0]], 3),
        (filler, zeros_before(3, 4, 5), 2),
        (filler, zeros_before(7, 8, 9), 2),
        (filler, zeros_before(1, 2, 3, 4), 1),
        (filler, zeros_before(15, 16, 31, 32, 33), 4),
        (filler, zeros_before(255, 256, 0), 8),
        (last, [1, 0, 0, 0, 0, 0, 0], 1),
        (last, [0, 0, 0, 0, 0], 1),
        (skipped, torch.tensor(1), 2),
        (last, torch.zeros(0), 2),
    ):
        try_positions(rule, mask, bits)
        try_back(back, mask, bits)
    g = generator()
    for share in (0.02, 0.3, 0.9):
        drawn = torch.rand(4, 6, 15, generator=g) < share
        for form, mask in (("", drawn), (", not contiguous", drawn.transpose(0, 2).contiguous().transpose(0, 2))):
            for bits in (1, 3, 5):
                try_positions(filler, mask, bits, f"drawn, {share} of it True, shape (4, 6, 15){form}")
                try_back(back, mask, bits, f"drawn, {share} of it True{form}")
    three, weights = torch.tensor([1, 3, 0]), torch.tensor([True, False, True])  # at the places 1, 5 and 6
    expect_equal(mask_of_positions(three, weights, (7,)), [0, 1, 0, 0, 0, 0, 1], back, given="gaps 1, 3, 0, shape (7,)")
    for gaps, kept, shape in (
        (three, weights, (6,)),
        (three, weights, (2, 3)),
        (three[:2], weights[:2], (5,)),
        (three[:1], weights[:1], ()),
        (three[2:], weights[2:], (0,)),
        (three[2:], weights[2:], (4, 0)),
    ):
        given = f"gaps = {gaps.tolist()}, kept = {kept.int().tolist()}, shape {shape}"
        expect_raises(
            ValueError,
            lambda a=gaps, b=kept, c=shape: mask_of_positions(a, b, c),
            beyond,
            given=given,
            hint=hints[beyond],
        )
    own, hint = "each call goes by the arguments that it gets", "what is kept between two calls?"
    one, two = torch.tensor([True, False, False, True]), torch.tensor([False, True, True, False])
    for results in reused(relative_positions, [(one, 2), (two, 2)]):
        for (gaps, kept), expected in zip(results, ([0, 2], [1, 0]), strict=True):
            expect_equal(gaps, expected, own, given="the same mask, with other values", hint=hint)
            expect_equal(kept, [True, True], own, given="the same mask, with other values", hint=hint)
    sets = [
        (torch.tensor([0, 2]), torch.tensor([True, True]), (4,)),
        (torch.tensor([1, 1]), torch.tensor([False, True]), (4,)),
    ]
    for results in reused(mask_of_positions, sets):
        expected = [[True, False, False, True], [False, False, False, True]]
        expect_equal(results, expected, own, given="the same gaps and kept, with other values", hint=hint)
    ### BEGIN HIDDEN TESTS
    for n, share, bits in ((1009, 0.01, 4), (5003, 0.1, 2), (50_021, 0.03, 5), (20, 1.0, 1)):
        mask = torch.rand(n, generator=g) < share
        try_positions(filler, mask, bits, f"{n} drawn, {share} of it True")
        try_back(back, mask, bits, f"{n} drawn, {share} of it True")
    ### END HIDDEN TESTS

# %% [markdown]
# **How many bits for a gap?** Few bits make many fillers, many bits are paid by every weight. For each layer of the
# trained network the cell counts the share of fillers, and the bits of gaps and codes together (codes of 4 bits; a
# filler has one, too). Guess the best width for the layer with nine of ten weights pruned, then run it.

# %% tags=["explore"]
GAP_BITS = {}
print("layer           left   bits of a gap: (share of fillers) bits for gaps and codes; * the fewest")
for name, (_, mask) in zip(layers_of(sparse), sparse_masks, strict=True):
    costs, fillers = {}, {}
    for bits in range(1, 9):
        gaps, kept = relative_positions(mask, bits)
        costs[bits], fillers[bits] = len(gaps) * (bits + 4), float((~kept).double().mean())
    GAP_BITS[name] = min(costs, key=costs.get)
    line = f"{name:14s}{100 * float(mask.double().mean()):4.0f} %  "
    for bits in range(1, 7):
        line += f" {bits}: ({100 * fillers[bits]:2.0f} %){costs[bits]:7,}{'*' if bits == GAP_BITS[name] else ' '}"
    print(line)

# %% [markdown]
# <details><summary>Answer</summary>
#
# Where a tenth is left, there are nine zeros before a weight on average, and 5 bits are best; where four tenths or more
# are left, 1 or 2. Each bit is paid by every entry, and a filler pays for a code, too. So the width should be chosen by
# counting, for each layer. The paper takes 8 bits for all convolutions and 5 for all fully
# connected layers.
#
# </details>
#
# ## Exercise 6: short words for frequent codes
#
# Huffman's algorithm joins the two rarest symbols into one, which is as frequent as both together, and goes on until a
# single one is left. Read backwards this is a tree of pairs; its branches, 0 and 1, are the code words. No word is the
# beginning of another, so a row of words can be read without separators, and no such code is shorter in total. With
# $p_s$ the share of symbol $s$, the average length $\bar\ell$ lies between the entropy and one bit more, if at least
# two symbols occur:
#
# $$ H = -\sum_s p_s \log_2 p_s \; \le \; \bar\ell \; < \; H + 1 . $$
#
# Example: counts $(6, 1, 2, 1)$: join the two ones (2), these with the 2 (4), these with the 6. One of several good
# codes is $(0, 110, 10, 111)$, with $6 \cdot 1 + 1 \cdot 3 + 2 \cdot 2 + 1 \cdot 3 = 16$ bits. Fixed words would take
# 20.
#
# Where only one symbol occurs, the tree has no branches; its word gets one bit.


# %% nbgrader={"grade_id": "huffman_code", "solution": true}
def huffman_code(counts):
    """Code words of least total length.

    Args:
        counts: list of up to 256 whole numbers, how often each symbol occurs. It is not changed.

    Returns:
        A list of texts of "0" and "1", one a symbol: "" for a symbol that does not occur; the others are prefix-free
        (none is the beginning of another), and the sum of count times length is the least that such words can have.
        Any such words will do. If only one symbol occurs, its word has one character.

    Raises:
        ValueError: if a count is negative, or none is greater than 0.
    """
    ### BEGIN SOLUTION
    if min(counts, default=0) < 0 or max(counts, default=0) == 0:
        raise ValueError("counts should not be negative, and at least one of them greater than 0")
    words = [""] * len(counts)
    trees = sorted((count, [symbol]) for symbol, count in enumerate(counts) if count)
    if len(trees) == 1:
        words[trees[0][1][0]] = "0"
    while len(trees) > 1:
        (few, left), (many, right_) = trees[:2]
        for bit, symbols in (("0", left), ("1", right_)):
            for symbol in symbols:
                words[symbol] = bit + words[symbol]
        trees = sorted([*trees[2:], (few + many, left + right_)])
    return words
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_huffman_code", "grade": true, "points": 3}
with check("huffman_code"):
    words_rule = "a list with a text of 0 and 1 for each symbol"
    absent = 'a symbol that does not occur has the word "", every other one a word'
    prefix = "no word is the beginning of another"
    least = "the sum of count times length is the least possible"
    single = "if only one symbol occurs, its word has one character"
    refused = "a negative count, or none greater than 0, is refused with a ValueError"
    again = "counts is not changed: the same list gives a best code once more"
    bound = "the average length is at least the entropy and less than one bit more"
    hints = {
        words_rule: "one text for each count, in the order of counts",
        absent: "should a symbol with the count 0 take part?",
        prefix: "both branches of each pair get another bit, in front of what their symbols have already",
        least: "always join the two rarest, and a joined one is as frequent as both",
        single: "there is nothing to join: who gives it a bit?",
        refused: "look at the counts before you begin",
        again: "does your code sort the list of counts, or take something out of it?",
        bound: "more than a bit above the entropy is more than the best code ever needs",
    }

    def least_total(counts):
        """The bits of the best code: each time two are joined, all symbols in them get one bit."""
        left = sorted(count for count in counts if count)
        total = left[0] if len(left) == 1 else 0
        while len(left) > 1:
            joined = left[0] + left[1]
            total, left = total + joined, sorted([*left[2:], joined])
        return total

    def try_words(rule, counts, words, given=None):
        """Whether these words are a best code."""
        given = given or f"counts = {counts}"
        texts = isinstance(words, list) and all(isinstance(word, str) and not word.strip("01") for word in words)
        expect(texts and len(words) == len(counts), words_rule, given=given, got=words, hint=hints[words_rule])
        short = max(map(len, words)) <= len(counts)  # longer words than that are in no best code
        expect(short, least, given=given, got=f"a word of {max(map(len, words))} characters", hint=hints[least])
        there = [count > 0 for count in counts]
        if sum(there) == 1:
            expect(len(words[there.index(True)]) == 1, single, given=given, got=words, hint=hints[single])
        expect([bool(word) for word in words] == there, absent, given=given, got=words, hint=hints[absent])
        ordered = sorted(word for word in words if word)
        for word, after in itertools.pairwise(ordered):  # who begins with a word comes right behind it
            expect(not after.startswith(word), prefix, given=given, got=f"{word} and {after}", hint=hints[prefix])
        total = sum(count * len(word) for count, word in zip(counts, words, strict=True))
        expect_equal(total, least_total(counts), rule, given=f"{given}, words {words}", hint=hints[rule])
        if len(ordered) > 1:
            n = sum(counts)
            entropy = -sum(c / n * math.log2(c / n) for c in counts if c)
            near = entropy - 1e-9 <= total / n < entropy + 1
            expect(near, bound, given=given, expected=f"{entropy:.4f} up to 1 more", got=total / n, hint=hints[bound])

    def try_huffman(rule, counts, given=None):
        """One case, twice with the same list."""
        kept_list = list(counts)
        told = given or f"counts = {counts}"
        once, twice = expect_returns(lambda: called_twice(kept_list), rule, given=told, hint=hints[rule])
        try_words(rule, counts, once, given)
        try_words(again, counts, twice, f"{told}, the second call with this list")

    @probe
    def called_twice(counts):
        """The student's words, and those for the same list once more."""
        counts = list(counts)
        first = list(huffman_code(counts))
        return first, huffman_code(counts)

    for counts in ([6, 1, 2, 1], [1, 1], [1, 2], [3, 3, 3], [5, 5, 5, 5], [1, 2, 4, 8, 16], [16, 8, 4, 2, 1]):
        try_huffman(least, counts)
    for counts in ([0, 3, 0, 1], [4, 0, 0, 0, 4, 4], [1, 0, 1]):
        try_huffman(absent, counts)
    for counts in ([7], [0, 0, 9], [1, 0]):
        try_huffman(single, counts)
    for counts in ([2, 2, 3, 3], [1, 1, 1, 1, 4], [10, 10, 11, 12, 20, 30, 40], [1, 1, 2, 3, 5, 8, 13, 21, 34, 55]):
        try_huffman(least, counts)
    try_huffman(least, [10**17 + 1, 10**17, 10**17 - 1, 2 * 10**17 - 1])  # float64 does not tell them apart
    g = generator()
    for n in (5, 16, 64):
        try_huffman(least, torch.randint(0, 50, (n,), generator=g).tolist())
        try_huffman(least, torch.randn(n, generator=g).exp().mul(100).long().add(1).tolist())
    try_huffman(least, [2**i for i in range(40)], "counts 1, 2, 4, ..., 2^39")
    for counts in ([-1, 2], [3, 1, -2, 4], [0, 0], [0], [], [-1]):
        expect_raises(
            ValueError, lambda counts=counts: huffman_code(counts), refused, given=counts, hint=hints[refused]
        )
    own, hint = "each call goes by the counts that it gets", "what is kept between two calls?"
    for results in reused(huffman_code, [([6, 1, 2, 1],), ([1, 1, 2, 6],)]):
        for counts, words in zip(([6, 1, 2, 1], [1, 1, 2, 6]), results, strict=True):
            lengths = [len(word) for word in words]
            expected = [1 if c == 6 else 2 if c == 2 else 3 for c in counts]
            expect_equal(lengths, expected, own, given="the same list, with other counts", hint=hint)
    ### BEGIN HIDDEN TESTS
    for n in (2, 3, 7, 100, 256):
        try_huffman(least, torch.randint(0, 9, (n,), generator=g).add((torch.arange(n) == 0).long()).tolist())
        try_huffman(least, torch.randn(n, generator=g).mul(2).exp().mul(20).long().add(1).tolist())
    ### END HIDDEN TESTS

# %% [markdown]
# **Codes and gaps, counted.** How often each code and each gap of a layer occurs, and how long its word is. Which of
# the two gains more, and can one see why?

# %% tags=["explore"]
BITS, INIT, LAYER = 4, "linear", "layer6_fc"
_, chosen_books, chosen_codes, _ = tuned[BITS, INIT]


def stream(codes, gap_bits):
    """What is stored of a layer: its codes (0 for a filler) and its gaps, (E,) each."""
    gaps, kept = relative_positions(codes != 0, gap_bits)
    entries = torch.zeros_like(gaps)
    entries[kept] = codes[codes != 0]
    return entries, gaps


figure, axes = plt.subplots(1, 2, figsize=(10, 3.6))
for ax, what, symbols, bits in zip(
    axes, ("codes", "gaps"), stream(chosen_codes[LAYER], GAP_BITS[LAYER]), (BITS, GAP_BITS[LAYER]), strict=True
):
    counts = torch.bincount(symbols, minlength=2**bits)
    words = huffman_code(counts.tolist())
    shares = counts.double() / counts.sum()
    entropy = -float((shares * shares.clamp(min=1e-300).log2()).sum())
    average = sum(float(share) * len(word) for share, word in zip(shares, words, strict=True))
    print(f"{what}: {bits} bits fixed, {average:.3f} on average by Huffman, entropy {entropy:.3f}")
    bars = ax.bar(range(2**bits), counts, color=COLOURS["sky"])
    if bits <= 5:
        for bar, word in zip(bars, words, strict=True):
            ax.annotate(
                f"{len(word)}",
                (bar.get_x() + bar.get_width() / 2, bar.get_height()),
                ha="center",
                va="bottom",
                fontsize=8,
            )
    ax.set(
        title=f"{what} of {LAYER}" + ("; above: bits of the word" if bits <= 5 else ""),
        xlabel=what[:-1],
        ylabel="how often",
    )
axes[0].set_xlabel("code (0: filler; the others in order of their values)")
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# Both averages are near the entropy, which no code with a word for each symbol can beat. Gaps gain more: small ones are
# far more frequent than large ones, but for the greatest, which all fillers have. Codes are less uneven: few weights
# are in the clusters far out and at the edges of the gap around 0.
#
# </details>
#
# ## Exercise 7: every bit
#
# A rate is worth what its accounting is worth. For one layer the file holds
#
# - the codebook: $2^b$ entries with 32 bits each, entry 0 too;
# - for each entry of the stream, filler or not, its code and its gap, with their fixed widths or as code words;
# - with code words: a table, from which a reader can make the words again. The length of each word is enough for
#   that, 8 bits a symbol, also for symbols that do not occur;
# - the biases, 32 bits each.
#
# Example: three entries with the codes $(1, 0, 2)$ of 2 bits and the gaps $(1, 3, 1)$ of 2 bits, and one bias:
# $4 \cdot 32 + 3 \cdot 2 + 3 \cdot 2 + 32 = 172$ bits.


# %% nbgrader={"grade_id": "compressed_size", "solution": true}
def compressed_size(codes, gaps, code_bits, gap_bits, biases, code_words=None, gap_words=None):
    """How many bits a layer takes, part by part.

    Args:
        codes, gaps: int64 tensors (E,), the entries: codes 0 .. 2^code_bits - 1, gaps 0 .. 2^gap_bits - 1; E >= 0.
            Neither is changed.
        code_bits, gap_bits: fixed widths of a code and of a gap, whole numbers >= 1.
        biases: how many the layer has, a whole number >= 0.
        code_words: None, or a list of 2^code_bits texts, the words of the codes; with None a code has code_bits bits.
        gap_words: likewise for gaps, 2^gap_bits texts. Either may be None by itself.

    Returns:
        A dict of whole numbers (int), the bits of each part: "codebook", 32 for each of its 2^code_bits entries;
        "codes" and "gaps", of all entries together; "tables", 8 for each word of a list that is given; "biases", 32
        for each one; "total", all these together.
    """
    ### BEGIN SOLUTION
    parts = {"codebook": 32 * 2**code_bits, "biases": 32 * biases, "tables": 0}
    for name, symbols, bits, words in (("codes", codes, code_bits, code_words), ("gaps", gaps, gap_bits, gap_words)):
        if words is None:
            parts[name] = len(symbols) * bits
        else:
            parts[name] = sum(len(words[symbol]) for symbol in symbols.tolist())
            parts["tables"] += 8 * len(words)
    return parts | {"total": sum(parts.values())}
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_compressed_size", "grade": true, "points": 2}
with check("compressed_size"):
    rules = {
        "codebook": "codebook: 32 bits for each of its 2^code_bits entries",
        "codes": "codes: code_bits for each entry, or the length of its word",
        "gaps": "gaps: gap_bits for each entry, or the length of its word",
        "tables": "tables: 8 bits for each word of a list that is given",
        "biases": "biases: 32 bits for each",
        "total": "total: all parts together",
    }
    hints = {
        "codebook": "do all entries occur among the codes? They are stored anyway",
        "codes": "one code for each entry; whose word is it?",
        "gaps": "one gap for each entry; whose word is it?",
        "tables": "how many symbols are there, occurring or not, and in how many lists?",
        "biases": "they stay in float32",
        "total": "is a part missing, or counted twice?",
    }
    kind = "the result is a dict of int with the six names of the docstring"

    def try_size(codes, gaps, code_bits, gap_bits, biases, code_words=None, gap_words=None, given=None):
        """Part by part, from the definition, with arguments by position and by name."""
        arguments = [torch.as_tensor(codes).long(), torch.as_tensor(gaps).long(), code_bits, gap_bits, biases]
        words = {}
        if code_words is not None:
            words["code_words"] = code_words
        if gap_words is not None:
            words["gap_words"] = gap_words
        told = f"code words {code_words}, gap words {gap_words}"
        given = (
            given or f"codes {list(codes)}, gaps {list(gaps)}, {code_bits} and {gap_bits} bits, {biases} biases, {told}"
        )
        before = state_of(*arguments[:2])
        got = expect_returns(lambda: compressed_size(*arguments, **words), rules["total"], given=given)
        expect_unchanged(
            before, state_of(*arguments[:2]), "codes and gaps are not changed", hint="which line writes into one?"
        )
        expect(isinstance(got, dict) and set(got) == set(rules), kind, given=given, got=got)
        expected = {"codebook": 2**code_bits * 32, "biases": 32 * biases, "tables": 0}
        for part, symbols, bits, list_ in (
            ("codes", codes, code_bits, code_words),
            ("gaps", gaps, gap_bits, gap_words),
        ):
            expected[part] = 0
            for symbol in list(symbols):
                expected[part] += bits if list_ is None else len(list_[int(symbol)])
            expected["tables"] += 0 if list_ is None else 8 * 2**bits
        for part in ("codebook", "codes", "gaps", "tables", "biases"):
            expect_type(got[part], int, kind, given=f"{given}: {part}")
            expect_equal(got[part], expected[part], rules[part], given=given, hint=hints[part])
        expect_type(got["total"], int, kind, given=f"{given}: total")
        expect_equal(got["total"], sum(expected.values()), rules["total"], given=given, hint=hints["total"])

    four, eight = ["110", "0", "10", "111"], ["0", "10", "110", "1110", "11110", "111110", "1111110", "1111111"]
    for codes, gaps, code_bits, gap_bits, biases, code_words, gap_words in (
        ([1, 0, 2], [1, 3, 1], 2, 2, 1, None, None),
        ([1, 0, 2], [1, 3, 1], 2, 2, 1, four, None),
        ([1, 0, 2], [1, 3, 1], 2, 2, 1, None, four),
        ([1, 0, 2, 3], [7, 0, 1, 7], 2, 3, 0, four, eight),
        ([7, 6, 1], [1, 0, 1], 3, 1, 5, eight, ["1", "0"]),
        ([], [], 4, 5, 10, None, None),
        ([], [], 2, 3, 3, four, eight),
        ([1, 1], [0, 0], 1, 1, 2, ["", "0"], ["0", ""]),
        ([5], [2], 8, 6, 84, None, None),
    ):
        try_size(codes, gaps, code_bits, gap_bits, biases, code_words, gap_words)
    g = generator()
    for n, code_bits, gap_bits in ((100, 4, 5), (1000, 3, 2)):
        codes, gaps = (torch.randint(0, 2**bits, (n,), generator=g) for bits in (code_bits, gap_bits))
        words = [
            ["01" * int(k) for k in torch.randint(1, 9, (2**bits,), generator=g)] for bits in (code_bits, gap_bits)
        ]
        for lists in ((None, None), (words[0], None), words):
            try_size(
                codes, gaps, code_bits, gap_bits, n, *lists, given=f"{n} drawn entries, {code_bits} and {gap_bits} bits"
            )
    own, hint = "each call goes by the entries that it gets", "what is kept between two calls?"
    sets = [
        (torch.tensor([1, 0]), torch.tensor([1, 1]), 2, 2, 0, four),
        (torch.tensor([0, 3]), torch.tensor([1, 1]), 2, 2, 0, four),
    ]
    for results in reused(compressed_size, sets):
        got = [[size["codes"], size["total"]] for size in results]
        expect_equal(got, [[4, 168], [6, 170]], own, given="the same codes and gaps, with other values", hint=hint)
    ### BEGIN HIDDEN TESTS
    for n, code_bits, gap_bits in ((1, 1, 1), (333, 5, 3), (3001, 8, 6)):
        codes, gaps = (torch.randint(0, 2**bits, (n,), generator=g) for bits in (code_bits, gap_bits))
        words = [
            ["1" * int(k) for k in torch.randint(1, 20, (2**bits,), generator=g)] for bits in (code_bits, gap_bits)
        ]
        for lists in ((None, words[1]), (words[0], None), words):
            try_size(
                codes,
                gaps,
                code_bits,
                gap_bits,
                2 * n,
                *lists,
                given=f"{n} drawn entries, {code_bits} and {gap_bits} bits",
            )
    ### END HIDDEN TESTS

# %% [markdown]
# **Stage by stage.** The whole network, by your functions alone. "Pruned" stores weights in 32 bits and gaps; "shared"
# codes and codebooks; "Huffman" words and tables, for codes and gaps of each layer where that is shorter. Which stage
# brings how much, and what is most of the file at the end?


# %% tags=["explore"]
def sizes_of(books, codes, network):
    """stage -> part -> bits, of the whole network; each layer with the width of gaps that takes the fewest."""
    stages = {stage: dict.fromkeys(("codebook", "codes", "gaps", "tables", "biases"), 0) for stage in STAGES}
    for name, layer in layers_of(network).items():
        bits, floats = len(books[name]).bit_length() - 1, 32 * len(layer.bias)
        tried = {stage: [] for stage in STAGES}
        tried["float"].append({"codes": 32 * codes[name].numel(), "biases": floats})
        for width in range(1, 9):
            entries, gaps = stream(codes[name], width)
            of_codes, of_gaps = (
                huffman_code(torch.bincount(symbols, minlength=2**n).tolist())
                for symbols, n in ((entries, bits), (gaps, width))
            )
            tried["pruned"].append({"codes": 32 * len(entries), "gaps": width * len(entries), "biases": floats})
            for stage, lists in (
                ("shared", [(None, None)]),
                ("Huffman", [(None, None), (of_codes, None), (None, of_gaps), (of_codes, of_gaps)]),
            ):
                for words in lists:
                    parts = compressed_size(entries, gaps, bits, width, len(layer.bias), *words)
                    parts.pop("total")
                    tried[stage].append(parts)
        for stage in STAGES:
            for part, count in min(tried[stage], key=lambda parts: sum(parts.values())).items():
                stages[stage][part] += count
    return stages


STAGES = ("float", "pruned", "shared", "Huffman")
percents = {
    "float": float_percent,
    "pruned": right(sparse),
    "shared": tuned[BITS, INIT][-1],
    "Huffman": tuned[BITS, INIT][-1],
}
sizes = sizes_of(chosen_books, chosen_codes, sparse)
print("stage      accuracy      bytes   rate   codebooks    codes     gaps   tables   biases (bytes)")
for stage, parts in sizes.items():
    total = sum(parts.values())
    told = "".join(f"{parts[part] / 8:9,.0f}" for part in parts)
    print(f"{stage:9s}{percents[stage]:8.2f} %{total / 8:11,.0f}{sum(sizes['float'].values()) / total:7.1f}   {told}")

# %% tags=["explore"]
figure, ax = plt.subplots(figsize=(8.4, 3.2))
colours = {"codebook": "black", "codes": "blue", "gaps": "sky", "tables": "vermillion", "biases": "green"}
hatches = {"tables": "////", "biases": "...."}  # for those who see no colours
stages = [stage for stage in sizes if stage != "float"]
left_ends = torch.zeros(len(stages))
for part, colour in colours.items():
    widths = torch.tensor([sizes[stage][part] / 8000 for stage in stages])
    label, hatch = "weights or codes" if part == "codes" else part, hatches.get(part)
    ax.barh(stages, widths, left=left_ends, color=COLOURS[colour], hatch=hatch, edgecolor="white", lw=0, label=label)
    left_ends += widths
for stage, end in zip(stages, left_ends.tolist(), strict=True):
    ax.text(end, stage, f"  {sum(sizes['float'].values()) / 8000 / end:.1f} times smaller", va="center", fontsize=9)
ax.set(
    xlabel="size (1,000 bytes)", title=f"{sum(sizes['float'].values()) / 8000:.0f} thousand bytes of float, compressed"
)
ax.set_xlim(0, 1.25 * float(left_ends.max()))
ax.invert_yaxis()
ax.legend(fontsize=8, loc="lower right")
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# Pruning and sharing bring most, and each multiplies what the other has brought; Huffman takes off nearly a fifth of
# what is left. At the end codes and gaps are most of the file, in nearly equal parts: to know *where* a weight stands
# costs as much as its value. Codebooks and tables hardly count here; the biases, which nobody has compressed, are 6 %
# of it.
#
# </details>
#
# **A real file.** So far you have counted. The course's own `compress` writes the network to disk, with the lengths of
# code words for tables as you do, and `load` reads it back. It chooses its widths by itself, and has some bytes more
# for its beginning and for checksums. Is your count right? If the file is not larger, what does it save?

# %% tags=["explore"]
import tempfile
from pathlib import Path

from course_utils.deep_compression import compress, load
from course_utils.networks import ClassyClassifier

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "network.deepc"
    compress(tuned[BITS, INIT][0], path)
    on_disk, read_back = path.stat().st_size, load(path, ClassyClassifier())
counted = sum(sizes["Huffman"].values()) / 8
print(f"counted {counted:,.1f} bytes, on disk {on_disk:,}: {on_disk - counted:+,.1f}")
same = all(
    torch.equal(a, b)
    for a, b in zip(read_back.state_dict().values(), tuned[BITS, INIT][0].state_dict().values(), strict=True)
)
print("read back, all weights equal:", same)

# %% [markdown]
# <details><summary>Answer</summary>
#
# The counts differ by a few bytes. The file has names and checksums to carry, but it writes the length of a word in 6
# bits where you count 8, and it leaves out entry 0 of each codebook, which is 0 anyway.
#
# </details>
#
# ## What the field reports
#
# The paper's pipeline on four networks: the size of the float file and of the compressed one.

# %% tags=["explore"]
PAPER = (  # network, error before and after (%; top-1), size before, after, in kB; table 1 of the paper
    ("LeNet-300-100", 1.64, 1.58, 1_070, 27),
    ("LeNet-5", 0.80, 0.74, 1_720, 44),
    ("AlexNet", 42.78, 42.78, 240_000, 6_900),
    ("VGG-16", 31.50, 31.17, 552_000, 11_300),
)
print("                       error before -> after      kB before -> after    rate")
for name, error, after, kilobytes, smaller in PAPER:
    print(f"{name:22s}{error:10.2f} % -> {after:5.2f} %{kilobytes:12,} ->{smaller:7,}{kilobytes / smaller:9.0f}")
total = {stage: sum(parts.values()) for stage, parts in sizes.items()}
print(
    f"{'ClassyClassifier, here':22s}{100 - float_percent:10.2f} % -> {100 - percents['Huffman']:5.2f} %"
    f"{total['float'] / 8000:12,.0f} ->{total['Huffman'] / 8000:7.1f}{total['float'] / total['Huffman']:9.0f}"
)

# %% [markdown]
# The course has run the whole pipeline for longer, by a script that is part of it
# (`data/train/train_deep_compression.py`), on all test images:

# %% tags=["explore"]
from course_utils.deep_compression.table import read_table
from course_utils.networks.models import WEIGHTS

for file in sorted(WEIGHTS.glob("deep_compression-*.json")):
    table = read_table(file.stem.removeprefix("deep_compression-"))
    plan = table.facts["plan"]
    print(f"{table.facts['network']} on {table.facts['dataset']}, {table.facts['test_images']:,} test images, ", end="")
    print(f"codes of {plan['bits']} bits, {' + '.join(map(str, plan['steps']))} steps of training")
    for stage in table.stages:
        print(f"  {stage.name:18s}{100 * stage.accuracy:8.2f} %{stage.size:12,} bytes{stage.ratio:8.1f} times smaller")

# %% [markdown]
# Why does the network of this notebook stay behind, in rate and in accuracy?
#
# <details><summary>Answer</summary>
#
# LeNet-5 comes near the paper's rate of 39 after some hundred steps: it is large for its task. The paper's networks
# were pruned and trained in turn until nothing was lost; ours had 220 steps. And the smaller the network, the more
# codebooks, tables and biases weigh.
#
# </details>
#
# **A published file.** The paper's authors published SqueezeNet in a layout of their own: codes of 8 bits, gaps of 4.
# If the course's data folder is here, the file is read and run, and your functions count it: first as it is, then with
# widths by counting and code words. What has the layout left unused?

# %% tags=["explore"]
from course_utils.data import DataError
from course_utils.data.imagenet import imagenet
from course_utils.deep_compression import squeezenet
from course_utils.deep_compression.published_layout import read_layers
from course_utils.networks import WeightsError
from course_utils.networks.published import SqueezeNet10, find_file

PHOTOS = 50
try:
    file = find_file("squeezenet/compressed_SqueezeNet.net", "SqueezeNet as its authors compressed it")
    photos, photo_labels = (some[:PHOTOS] for some in imagenet("imagenet_val", size=227))
    stored = read_layers(file, SqueezeNet10())
except (WeightsError, DataError) as missing:
    print(missing)
else:
    as_published = with_words = fillers_stored = entries_stored = 0
    for layer in stored.values():
        layer_codes, biases = layer.codes.long(), len(layer.bias)
        entries, gaps = stream(layer_codes, 4)
        as_published += compressed_size(entries, gaps, 8, 4, biases)["total"]
        fillers_stored, entries_stored = fillers_stored + int((entries == 0).sum()), entries_stored + len(entries)
        tried = []
        for width in range(2, 7):
            entries, gaps = stream(layer_codes, width)
            words = (
                huffman_code(torch.bincount(symbols, minlength=2**bits).tolist())
                for symbols, bits in ((entries, 8), (gaps, width))
            )
            tried.append(compressed_size(entries, gaps, 8, width, biases, *words)["total"])
        with_words += min(tried)
    weights_stored = sum(layer.codes.numel() for layer in stored.values())
    floats = 4 * (weights_stored + sum(len(layer.bias) for layer in stored.values()))
    print(
        f"{weights_stored:,} weights, {entries_stored:,} entries, {100 * fillers_stored / entries_stored:.2f} % fillers"
    )
    print(f"float {floats:,} bytes; the file has {file.stat().st_size:,}, counted {as_published / 8:,.1f}")
    print(f"with widths by counting and code words: {with_words / 8:,.0f} bytes, ", end="")
    print(f"{8 * floats / with_words:.1f} times smaller than float (the file: {floats / file.stat().st_size:.1f})")
    published = squeezenet()
    with torch.no_grad():
        ranks = published.model(published.prepare(photos)).argsort(1, descending=True)
    hits = (ranks - published.first_class == photo_labels[:, None])[:, :5]
    print(f"{PHOTOS} photos: top-1 {int(hits[:, 0].sum())}, top-5 {int(hits.sum())} right")

# %% [markdown]
# <details><summary>Answer</summary>
#
# Without code words the count is nearly the file, which has a header and whole bytes. Code words would have made it
# smaller: of 256 codes those near 0 are far more frequent than the ends. And SqueezeNet is small for what it does, so
# that it could not be pruned as hard as the networks of the table; its gaps are short. (Without the data folder there
# is nothing to see here.)
#
# </details>

# %% [markdown]
# ## Recap
#
# - Pruning leaves few weights; a mask keeps them few while the others train. What is left must say where it stands.
# - Shared values are clusters, their gradient is a sum over the cluster. With enough bits the beginning of k-means does
#   not matter; with few it can.
# - The width of a gap is a choice between fillers and bits, made by counting. So is every rate: codebooks, tables and
#   biases belong to the file.
# - Huffman's code gains as much as counts are uneven, and stays within a bit of the entropy, if two symbols occur.
#
# Three questions to finish. A few sentences each, with numbers where you can.

# %% [markdown]
# ### Question 1 (2 points): the width of a gap
#
# In a layer exactly one weight of 64 is left, always with 63 zeros before it. Codes have 4 bits. How many bits does a
# weight that is left cost, fillers included, with gaps of 3, 4, 5 and 6 bits? Which width is best? In the next layer
# there are always 64 zeros before a weight. Which of the four is best there?

# %% [markdown] nbgrader={"grade_id": "which_gap", "grade": true, "solution": true, "points": 2}
# **Model answer.** A filler accounts for $2^b$ zeros. With 3 bits, $63 = 7 \cdot 8 + 7$: 7 fillers and the weight, 8
# entries of $3 + 4$ bits, 56. With 4 bits, $63 = 3 \cdot 16 + 15$: 4 entries of 8 bits, 32. With 5 bits,
# $63 = 32 + 31$: 2 entries of 9 bits, 18. With 6 bits a gap of 63 fits: 10 bits, the best. With 64 zeros 6 bits need
# one filler, 2 entries of 10 bits: 20. 5 bits need two fillers ($64 = 2 \cdot 32 + 0$), 3 entries: 27; so 6 bits are
# best again (4 bits: 5 entries, 40; 3 bits: 9 entries, 63).
#
# *Marking: 1 point for the four costs with 63 zeros. 1 point for 6 bits in both, with 20 against 27 in the second.*

# %% [markdown]
# ### Question 2 (2 points): codes that Huffman likes
#
# A layer has 4 codes. With one codebook they occur 8, 4, 2 and 2 times of 16, with another one 4 times each; the
# accuracy is the same. What are the entropies, and the bits of all 16 codes by Huffman and by fixed width? A colleague
# says: "Place the centroids by density, then all codes are equally frequent, and each carries the most information." Is
# that good for the file?

# %% [markdown] nbgrader={"grade_id": "which_codes", "grade": true, "solution": true, "points": 2}
# **Model answer.** First: $H = \frac12 \cdot 1 + \frac14 \cdot 2 + 2 \cdot \frac18 \cdot 3 = 1.75$ bits, words of 1,
# 2, 3, 3 bits, $8 + 8 + 6 + 6 = 28$ bits. Second: $H = 2$, all words have 2 bits, 32 bits. Fixed: 32 in both. The
# colleague is right about the information, and that is the point: the file must hold it. Codes of equal frequency
# cannot be compressed; if the accuracy is the same, uneven codes make the smaller file.
#
# *Marking: 1 point for 1.75 and 2 bits with 28 and 32. 1 point for "no", because equally frequent codes leave Huffman
# nothing to gain.*

# %% [markdown]
# ### Question 3 (2 points): bits for a small layer
#
# A small layer has 1,000 entries, with gaps of 3 bits, and 10 biases; no Huffman. How large is it with codes of 8 bits,
# and with codes of 4 bits? What share of it is the codebook in each case? From how many entries on is the codebook with
# 8 bits less than a tenth of the layer's bits, biases left out?

# %% [markdown] nbgrader={"grade_id": "small_layer", "grade": true, "solution": true, "points": 2}
# **Model answer.** 8 bits: $256 \cdot 32 + 1000 \cdot (8 + 3) + 10 \cdot 32 = 8192 + 11000 + 320 = 19{,}512$ bits, of
# which the codebook is 42 %. 4 bits: $512 + 7000 + 320 = 7832$ bits, the codebook 6.5 %. The codebook is less than a
# tenth where $8192 < 0.1 \cdot (8192 + 11 n)$, so $n > 9 \cdot 8192 / 11 = 6702.5$: from 6,703 entries on.
#
# *Marking: 1 point for both sizes (19,512 and 7,832). 1 point for the shares and 6,703 (6,702 or 6,700 with the right
# equation).*
