# ---
# jupyter:
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
#   course:
#     title: One and two bits
#     minutes: 180
#     check_seconds: 10
#     withhold:
#       - course_utils.low_bit
#       - course_utils.numerics.compiled
#       - course_utils.ristretto
#       - "@torch_fake_quantizers"
# ---

# %% [markdown]
# # One and two bits
#
# **Goal.** A network whose weights are one or two bits must be *trained* so: rounding it afterwards leaves nothing.
# You write the core of seven methods, from BinaryConnect to incremental quantization, train networks with them, and
# multiply matrices of signs without a multiplication. Afterwards you can say what each method gives up, and what it
# gets for that. **Time:** about three hours. You need Python and a little torch, and to know what `backward` does.
#
# include: how_to_work.md
#
# Refused here: `course_utils.low_bit`, where the course has its own, what stands near it in other labs' packages, and
# torch's fake quantization.
#
# <details><summary>Sources</summary>
#
# "The document" is a lecture on methods of quantization whose table compares them on AlexNet. The papers behind the
# table: *BinaryConnect* (Courbariaux, Bengio and David, 2015), *BNN* and *QNN* (Hubara, Courbariaux and colleagues,
# 2016), *XNOR-Net*, which has *BWN* in it (Rastegari and colleagues, 2016), *TWN* (Li, Zhang and Liu, 2016), *TTQ*
# (Zhu, Han, Mao and Dally, 2016), *DoReFa-Net* (Zhou and colleagues, 2016), *HWGQ* (Cai, He, Sun and Vasconcelos,
# 2017), *LogNet* (Lee, Miyashita and colleagues, 2017), *INQ* (Zhou, Yao and colleagues, 2017).
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


def straight_through(values, path):
    """A tensor with these values, whose gradient goes to `path` as it comes. Both have the same shape and dtype."""
    return values.detach() + (path - path.detach())  # the bracket is 0, and its gradient is that of path


def count_ones(words):
    """How many of the 64 bits of each int64 number are 1, as int64."""
    words = words - ((words >> 1) & 0x5555555555555555)  # sums of 2 bits, then of 4, of 8, of all
    words = (words & 0x3333333333333333) + ((words >> 2) & 0x3333333333333333)
    words = (words + (words >> 4)) & 0x0F0F0F0F0F0F0F0F
    return (words * 0x0101010101010101) >> 56


# %% [markdown]
# ## Idea
#
# Round the weights of a trained network to their signs, and it guesses. The rounding must be part of the training, and
# there it meets two obstacles.
#
# **Small steps vanish.** A gradient step moves a weight by a thousandth, and a sign does not move by a thousandth. So
# every method keeps **shadow weights** in float: the forward pass rounds them, the step changes the shadows, and a
# sign flips when its shadow has crept across zero. (Only the rounded weights are kept once training is over.)
#
# **The derivative is zero.** A staircase is flat wherever it does not jump, so backpropagation through it gives
# nothing. The **straight-through estimator** pretends that the forward function had been another one, with a useful
# slope:
#
# $$ \text{forward: } b = \operatorname{sign}(w) \qquad\qquad \text{backward: } \frac{\partial L}{\partial w} :=
# \frac{\partial L}{\partial b} \cdot \mathbf{1}\big[\,|w| < 1\,\big] , $$
#
# as if $b$ were $w$ cut to $[-1, 1]$. The function `straight_through` above does this in one line. The picture shows
# three staircases of this lab and what the backward pass takes them for.

# %% tags=["explore"]
x = torch.linspace(-2.2, 2.2, 881, dtype=torch.float64)
figure, axes = plt.subplots(1, 3, figsize=(10, 3.1), sharey=True)
for ax, title, forward, backward in (
    (axes[0], "signs", torch.where(x >= 0, 1.0, -1.0), x.clamp(-1, 1)),
    (axes[1], "2 bits of [0, 1]", (3 * x.clamp(0, 1)).round() / 3, x.clamp(0, 1)),
    (axes[2], "three levels", torch.where(x.abs() > 0.6, x.sign() * 1.2, 0), x),
):
    ax.plot(x, forward, color=COLOURS["blue"], label="forward")
    ax.plot(x, backward, "--", color=COLOURS["vermillion"], label="for the backward pass")
    ax.set_title(title)
    ax.set_xlabel("x")
axes[0].set_ylabel("result")
axes[0].legend(fontsize=8, loc="upper left")
plt.show()

# %% [markdown]
# **The family.** The document's table has three kinds of method. *Reduce the weights*: BinaryConnect, BWN (signs), TWN,
# TTQ (three levels). *Reduce weights and activations*: XNOR-Net, BNN (signs times signs), DoReFa, QNN, HWGQ.
# *Non-linear*: LogNet and INQ (powers of two: a product is a shift). A star behind a number of bits means that the
# first and the last layer stay in float.

# %% [markdown]
# ## Exercise 1: signs that can be trained
#
# BinaryConnect has two ways to a sign. **Deterministic**: $+1$ where $w \ge 0$, else $-1$. **Stochastic**: $+1$ with
# the probability
#
# $$ p = \min\left(\max\left(\tfrac{w + 1}{2},\, 0\right),\, 1\right) , $$
#
# else $-1$: on average that is $w$ itself, as long as $|w| \le 1$. To keep your function testable it does not draw: it
# gets numbers $u$, drawn evenly from $[0, 1)$, and $u < p$ happens with probability $p$.
#
# Example: $w = 0.5$ gives $+1$; with $u = 0.7$ it gives $+1$, because $0.7 < 0.75$, and with $u = 0.8$ it gives $-1$.
# A gradient of 3 arrives at $w = 0.5$ as 3, and at $w = 1.5$ as 0.
#
# The values are *exactly* $-1$ and $+1$. An often-seen line, `w + (signs - w).detach()`, does not always give that: in
# float32, $(-1 - 0.3) + 0.3$ need not be $-1$.


# %% nbgrader={"grade_id": "binarize", "solution": true}
def binarize(w, u=None):
    """-1 or +1 for each weight, with the straight-through gradient.

    Args:
        w: tensor of any shape, float32 or float64, finite. It is not changed.
        u: None, or a tensor of w's shape and dtype with numbers in [0, 1). It is not changed.

    Returns:
        A new tensor of w's shape and dtype whose values are exactly -1 and +1.
        Without u: +1 where w >= 0, else -1 (-0.0 is 0).
        With u: +1 where u < p, else -1, with p = (w + 1) / 2 cut to [0, 1].
        In the backward pass w gets the gradient of the result where |w| < 1, and 0 where |w| > 1; with u, too.
    """
    ### BEGIN SOLUTION
    positive = w >= 0 if u is None else u < (w + 1) / 2
    return straight_through(torch.where(positive, 1.0, -1.0), w.clamp(-1, 1))
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_binarize", "grade": true, "points": 2}
@probe
def binarize_backward(w, gradient, u):
    """Values of the student's result, and the gradient that arrives at w."""
    w = w.detach().requires_grad_()
    result = binarize(w) if u is None else binarize(w, u)
    (result * gradient).sum().backward()
    return result.detach(), w.grad


with check("binarize"):
    sign = "without u: +1 where w >= 0, else -1"
    chance = "with u: +1 where u < p, else -1, with p = (w + 1) / 2 cut to [0, 1]"
    exact = "the values are exactly -1 and +1"
    window = "w gets the gradient of the result where |w| < 1, and 0 where |w| > 1"
    kind = "the result has w's shape and dtype"
    hints = {
        sign: "what does torch.sign give at 0?",
        chance: "is it p that decides, and on which side of p does u lie?",
        exact: "what does float32 make of (a - b) + b?",
        window: "as if the forward pass had been w cut to [-1, 1]: which of your steps cuts, and which passes it on?",
        kind: "which step makes numbers of another dtype, or a row of a table?",
    }
    leaves_alone = watched(binarize, "w and u are not changed", hint="methods that end in _ write into their tensor")

    def try_binarize(rule, w, u=None, given=None):
        """One case, forward and backward, from the definition."""
        given = given or (f"w = {w.tolist()}" + ("" if u is None else f", u = {u.tolist()}"))
        p = ((w.double() + 1) / 2).clamp(0, 1)
        expected = torch.where(w >= 0 if u is None else u.double() < p, 1.0, -1.0)
        got = leaves_alone(w) if u is None else leaves_alone(w, u)
        expect_type(got, w.dtype, kind, shape=w.shape, given=given, hint=hints[kind])
        expect_close(got, expected, rule, within=0.5, given=given, hint=hints[rule])
        expect_equal(got, expected, exact, given=given, hint=hints[exact])
        gradient = torch.arange(1, w.numel() + 1, dtype=w.dtype).reshape(w.shape)
        values, arrives = expect_returns(
            lambda: binarize_backward(w, gradient, u), window, given=given, hint=hints[window]
        )
        expect_equal(values, expected, exact, given=f"{given}, requiring a gradient", hint=hints[exact])
        facts = f"{given}, result's gradients 1, 2, 3, ..."
        expect_type(arrives, w.dtype, window, shape=w.shape, given=facts, hint=hints[window])
        expect_equal(arrives.where(w.abs() != 1, 0), gradient * (w.abs() < 1), window, given=facts, hint=hints[window])

    below, above = math.nextafter(1, 0), math.nextafter(1, 2)
    for dtype in (torch.float32, torch.float64):
        try_binarize(sign, torch.tensor([-2.0, -0.5, -1e-30, 0.0, 1e-30, 0.3, 2.0], dtype=dtype))
        try_binarize(sign, torch.tensor([[-0.0], [0.0]], dtype=dtype))
        try_binarize(window, torch.tensor([-1.0, 1.0, 1.5, -1.5, 1e30, -1e30], dtype=dtype))
        w, u = [0.5, 0.5, 0.5, -0.5, -0.5, 0.0, 0.0], [0.7, 0.75, 0.8, 0.2, 0.3, 0.5, 0.4]
        try_binarize(chance, torch.tensor(w, dtype=dtype), torch.tensor(u, dtype=dtype))
        w, u = [1.0, -1.0, 3.0, -3.0, 1e30, -1e30], [0.999, 0.0, 0.999, 0.0, 0.5, 0.5]
        try_binarize(chance, torch.tensor(w, dtype=dtype), torch.tensor(u, dtype=dtype))
        w = torch.linspace(-0.95, 0.95, 39, dtype=dtype)
        try_binarize(exact, w, torch.full_like(w, 0.989), given="w = -0.95, -0.9, ..., 0.95, u = 0.989")
        try_binarize(exact, w, torch.zeros_like(w), given="w = -0.95, -0.9, ..., 0.95, u = 0")
    try_binarize(window, torch.tensor([below, -below, above, -above], dtype=torch.float64))  # one ulp from the ends
    g = generator()
    drawn, noise = torch.randn(3, 4, 5, generator=g), torch.rand(3, 4, 5, generator=g)
    inputs = zip(
        forms(drawn, (torch.float32, torch.float64)), forms(noise, (torch.float32, torch.float64)), strict=True
    )
    for (form, w), (_, u) in inputs:
        try_binarize(sign, w, given=f"w {form}")
        try_binarize(chance, w, u, given=f"w {form}, with u")
    own, hint = "each call goes by the w and u that it gets", "what is kept between two calls?"
    sets = [
        (torch.tensor([0.5, -0.5]), torch.tensor([0.6, 0.6])),
        (torch.tensor([-0.5, 0.5]), torch.tensor([0.1, 0.9])),
    ]
    for results in reused(binarize, sets):
        expect_equal(results, [[1, -1], [1, -1]], own, given="the same w and u, with other values", hint=hint)
    for results in reused(binarize, [(torch.tensor([0.5, -2.0]),), (torch.tensor([-0.5, 2.0]),)]):
        expect_equal(results, [[1, -1], [-1, 1]], own, given="the same w, with other values", hint=hint)
    ### BEGIN HIDDEN TESTS
    for count in (1, 50, 10_007):
        w, u = 2 * torch.randn(count, generator=g), torch.rand(count, generator=g)
        try_binarize(sign, w, given=f"{count} drawn weights")
        try_binarize(chance, w, u, given=f"{count} drawn weights, with u")
    ### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 2: one scale, with and without a zero
#
# Signs alone have the wrong size. BWN gives each filter one scale, and asks for the nearest tensor of this form:
#
# $$ \min_{\alpha > 0,\; b \in \{-1, +1\}^n} \; \lVert w - \alpha b \rVert^2
# \quad\Longrightarrow\quad b = \operatorname{sign}(w), \qquad \alpha = \frac1n \sum_i |w_i| . $$
#
# (Whatever $\alpha$ is, equal signs are best; then the error $\lVert w\rVert^2 - 2\alpha\sum|w_i| + n\alpha^2$ is a
# parabola in $\alpha$.) TWN adds a zero, for weights up to a threshold $\Delta$:
#
# $$ t_i = \begin{cases} \operatorname{sign}(w_i) & |w_i| > \Delta \\ 0 & \text{else} \end{cases}
# \qquad \alpha = \text{mean of } |w_i| \text{ over those with } |w_i| > \Delta
# \qquad \Delta = 0.7 \cdot \frac1n \sum_i |w_i| . $$
#
# This $\alpha$ is the best one for its $\Delta$. The 0.7 is an estimate (the paper's third version, of 2022, has 0.75),
# which you will test.
#
# Example, one filter: $w = (1, -3, 0.5, -0.1)$ has the mean magnitude 1.15. Signs: $1.15 \cdot (1, -1, 1, -1)$. Three
# levels: $\Delta = 0.805$, so $t = (1, -1, 0, 0)$ and $\alpha = (1 + 3)/2 = 2$.


# %% nbgrader={"grade_id": "ternary_weight", "solution": true}
def binary_weight(w):
    """The nearest tensor of signs with one scale for each filter (BWN).

    Args:
        w: tensor (C, ...) of C filters, two or more dimensions, float32 or float64, finite. It is not changed.

    Returns:
        A tuple (codes, alpha) of new tensors of w's dtype: codes of w's shape, +1 where w >= 0, else -1; alpha
        (C, 1, ..., 1), with as many dimensions as w: the mean magnitude of each filter, calculated in float64.

    Raises:
        ValueError: if w holds no number.
    """
    ### BEGIN SOLUTION
    if w.numel() == 0:
        raise ValueError("there are no weights")
    codes = torch.where(w >= 0, 1.0, -1.0).to(w.dtype)
    alpha = w.double().abs().mean(dim=tuple(range(1, w.dim())), keepdim=True)
    return codes, alpha.to(w.dtype)
    ### END SOLUTION


def ternary_weight(w, factor=0.7):
    """Signs and zeros with one scale for each filter (TWN).

    Args:
        w: as above.
        factor: number >= 0: the threshold of a filter is factor times its mean magnitude, calculated in float64.

    Returns:
        A tuple (codes, alpha) of new tensors of w's dtype: codes of w's shape, the sign of w where |w| is greater than
        the threshold, else 0; alpha (C, 1, ..., 1): the mean magnitude of a filter's weights that are greater than its
        threshold, calculated in float64; 0 where there are none.

    Raises:
        ValueError: if w holds no number.
    """
    ### BEGIN SOLUTION
    if w.numel() == 0:
        raise ValueError("there are no weights")
    dims = tuple(range(1, w.dim()))
    size = w.double().abs()
    kept = size > factor * size.mean(dim=dims, keepdim=True)
    alpha = (size * kept).sum(dim=dims, keepdim=True) / kept.sum(dim=dims, keepdim=True).clamp(min=1)
    return torch.where(kept, w.sign(), 0.0), alpha.to(w.dtype)
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_ternary_weight", "grade": true, "points": 3}
with check("ternary_weight"):
    sign = "binary_weight's codes are +1 where w >= 0, else -1"
    mean = "binary_weight's alpha is the mean magnitude of each filter"
    best = "no other alpha and signs come nearer to w"
    zero = "ternary_weight's codes are the sign of w where |w| > factor times the filter's mean magnitude, else 0"
    inner = "ternary_weight's alpha is the mean magnitude of the weights beyond the threshold, 0 where there are none"
    nearest = "no other alpha comes nearer to w with these codes"
    kind = "codes have w's shape, alpha is (C, 1, ..., 1), both of w's dtype"
    exact = "means are calculated in float64"
    none = "a w that holds no number is refused with a ValueError"
    hints = {
        sign: "what does torch.sign give at 0?",
        mean: "which dimensions belong to one filter, and what comes first, the mean or the magnitude?",
        zero: "whose mean is it, of which numbers, and what happens exactly at the threshold?",
        inner: "how many weights are added up, and by how many is the sum divided?",
        kind: "keepdim keeps a dimension of size 1; which of your steps makes another dtype?",
        exact: "what is left of a small number that is added to a large one in float32?",
    }

    def tolerance(w):
        """Relative: one rounding to w's dtype, and the float64 sum in any order."""
        return torch.finfo(w.dtype).eps + w[0].numel() * 2.0**-52

    def expect_pair(result, w, given):
        """(codes, alpha) of the right kind."""
        expect(isinstance(result, tuple) and len(result) == 2, "the result is a tuple (codes, alpha)", got=result)
        expect_type(result[0], w.dtype, kind, shape=w.shape, given=given, hint=hints[kind])
        scales = (len(w),) + (1,) * (w.dim() - 1)
        expect_type(result[1], w.dtype, kind, shape=scales, given=given, hint=hints[kind])

    def try_binary(w, given=None, rule=mean):
        """Signs and scales from the definition."""
        given = given or f"w = {w.tolist()}"
        before = state_of(w)
        result = expect_returns(lambda: binary_weight(w), sign, given=given)
        expect_unchanged(before, state_of(w), "w is not changed", hint="which line writes into it?")
        expect_pair(result, w, given)
        expect_equal(result[0], torch.where(w >= 0, 1, -1), sign, given=given, hint=hints[sign])
        alpha = w.double().abs().flatten(1).mean(1).reshape(result[1].shape)
        expect_close(result[1], alpha, rule, within=tolerance(w) * alpha, given=given, hint=hints[rule])

    def try_ternary(w, factor=0.7, given=None, rule=inner):
        """Codes and scales from the definition, filter by filter."""
        given = f"{given or f'w = {w.tolist()}'}, factor {factor}"
        before = state_of(w)
        result = expect_returns(lambda: ternary_weight(w, factor), zero, given=given)
        expect_unchanged(before, state_of(w), "w is not changed", hint="which line writes into it?")
        expect_pair(result, w, given)
        codes, alpha = torch.zeros_like(w, dtype=torch.float64), torch.zeros_like(result[1], dtype=torch.float64)
        for filter_, size in enumerate(w.double().abs()):
            kept = size > factor * size.mean()
            codes[filter_][kept] = w[filter_].double().sign()[kept]
            alpha[filter_] = size[kept].mean() if kept.any() else 0
        expect_equal(result[0], codes, zero, given=given, hint=hints[zero])
        expect_close(result[1], alpha, rule, within=tolerance(w) * alpha, given=given, hint=hints[rule])

    for dtype in (torch.float32, torch.float64):
        first, second = (mean, inner) if dtype == torch.float32 else (exact, exact)  # the same numbers went well before
        try_ternary(torch.tensor([[1.0, 3.0], [-3.0, -1.0], [2.0, 2.0]], dtype=dtype), 0.5)  # 1 = 0.5 * 2 exactly
        try_ternary(torch.tensor([[2.0, 2.0], [-0.5, 0.5]], dtype=dtype), 1)
        w = torch.tensor([[1.0, -3.0, 0.5, -0.1], [0.0, -0.0, 2.0, -6.0], [0.0, 0.0, 0.0, 0.0]], dtype=dtype)
        try_binary(w, rule=first)
        try_ternary(w, rule=second)
        try_ternary(w, 0, rule=second)
        try_ternary(w, 5, given="the same w", rule=second)
        w = torch.tensor([[-1e-30, 3e-30, 5e-30], [1e-30, 1e-30, -1e-30]], dtype=dtype)
        try_binary(w, rule=first)
        try_ternary(w, rule=second)
    default = "factor is 0.7 where none is given"
    w = torch.tensor([[1.9, -1.0, 0.73, 0.37]])  # mean magnitude 1
    codes = expect_returns(lambda: ternary_weight(w), default, given=f"w = {w.tolist()}")[0]
    expect_equal(codes, [[1, -1, 1, 0]], default, given=f"w = {w.tolist()}", hint="look at the function's first line")
    g = generator()
    for shape in ((2, 3), (3, 2, 2, 2), (1, 5), (4, 1, 3)):
        drawn = torch.randn(shape, generator=g)
        backwards = drawn.transpose(0, -1).contiguous().transpose(0, -1)
        for form, w in (("", drawn), (", not contiguous", backwards)):
            try_binary(w, f"drawn, shape {shape}{form}")
            try_ternary(w, given=f"drawn, shape {shape}{form}")
    # 2^24 and many ones: float32 loses each one that it adds to the sum
    w = torch.cat([torch.tensor([2.0**24]), torch.ones(4999)]).reshape(1, -1)
    w64 = torch.tensor([[2.0**25, 1.0, 1.0, 2.0]], dtype=torch.float64) + 2.0**-20
    try_binary(w64, "float64, 2^25, 1, 1, 2, each plus 2^-20", exact)
    try_ternary(w64, 0, "float64, 2^25, 1, 1, 2, each plus 2^-20", exact)
    try_binary(w, "2^24 and 4999 ones", exact)
    try_ternary(w, 0, "2^24 and 4999 ones", exact)
    w = torch.randn(1, 6, generator=g, dtype=torch.float64)
    codes, alpha = binary_weight(w)
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 6)  # all 64
    least = (w.square().sum() - (signs @ w[0]).square() / 6).min()  # each with its own best alpha
    error = (w - alpha * codes).square().sum()
    expect_close(error, least, best, within=1e-12, given=f"w = {w.tolist()}: 64 patterns of signs tried")
    codes, alpha = ternary_weight(w)
    tried = (1 + torch.linspace(-0.5, 0.5, 101, dtype=torch.float64))[:, None] * alpha
    others = (w - tried * codes).square().sum(1)
    error = (w - alpha * codes).square().sum()
    expect(error <= others.min() + 1e-12, nearest, given=f"w = {w.tolist()}", got=f"alpha = {float(alpha):.6f}")
    for name, f in (("binary_weight", binary_weight), ("ternary_weight", ternary_weight)):
        for shape in ((0, 3), (2, 0), (2, 0, 3)):
            expect_raises(
                ValueError,
                lambda f=f, shape=shape: f(torch.zeros(shape)),
                none,
                given=f"{name}, shape {shape}",
                hint="how many numbers are there? Ask before you divide",
            )
    own, hint = "each call goes by the w that it gets", "what is kept between two calls?"
    one, two = torch.tensor([[1.0, -3.0]]), torch.tensor([[-2.0, 8.0]])
    for f, expected in (
        (binary_weight, [([[1, -1]], [[2]]), ([[-1, 1]], [[5]])]),
        (ternary_weight, [([[0, -1]], [[3]]), ([[0, 1]], [[8]])]),
    ):
        for results in reused(f, [(one,), (two,)]):
            for (codes, alpha), pair in zip(results, expected, strict=True):
                expect_equal(codes, pair[0], own, given="the same w, with other values", hint=hint)
                expect_equal(alpha, pair[1], own, given="the same w, with other values", hint=hint)
    ### BEGIN HIDDEN TESTS
    for shape in ((5, 7), (2, 3, 5, 5), (8, 1009)):
        drawn = torch.randn(shape, generator=g, dtype=torch.float64).exp() - 1
        for w in (drawn, drawn.float()):
            try_binary(w, f"drawn, shape {shape}")
            for factor in (0.7, 0.3, 1.5):
                try_ternary(w, factor, given=f"drawn, shape {shape}")
    ### END HIDDEN TESTS

# %% [markdown]
# **How good is 0.7?** TWN derives its factor for weights spread evenly and for Gaussian ones, and takes a number in
# between. The best threshold is easy to find, though: keep the $k$ largest magnitudes, for every $k$, and take the
# best. The picture draws your `ternary_weight`'s error against the factor. Where is each curve lowest, and what does
# 0.7 cost?

# %% tags=["explore"]
from course_utils.low_bit import optimal_ternary

maker = torch.Generator().manual_seed(0)
gauss = torch.randn(20_000, generator=maker, dtype=torch.float64)
even = torch.rand(20_000, generator=maker, dtype=torch.float64) * 2 - 1
kinds = {
    "spread evenly": even,
    "Gaussian": gauss,
    "Laplace": -even.sign() * torch.log1p(-even.abs()),
    "half of them near 0": torch.where(even > 0, gauss, 0.02 * gauss),
}


def share_lost(w, codes, alpha):
    """The squared error of alpha * codes, as a share of the squares of w."""
    return float((w - alpha * codes).square().sum() / w.square().sum())


factors = [k / 50 for k in range(101)]
curves = {name: [share_lost(w, *ternary_weight(w[None], factor)) for factor in factors] for name, w in kinds.items()}
signs = {name: share_lost(w, *binary_weight(w[None])) for name, w in kinds.items()}
figure, ax = plt.subplots(figsize=(7.6, 3.8))
print("                        signs   factor 0.7   best factor   its error   0.7 costs more by")
for (name, w), colour, style in zip(
    kinds.items(), ("blue", "green", "vermillion", "black"), ("-", "--", "-.", ":"), strict=True
):
    threshold, alpha = optimal_ternary(w)  # by trying every k
    least = share_lost(w, w.sign() * (w.abs() > threshold), alpha)
    best = threshold / float(w.abs().mean())
    ax.plot(factors, curves[name], style, color=COLOURS[colour], label=name)
    ax.plot(best, least, "o", color=COLOURS[colour])
    seven = curves[name][factors.index(0.7)]
    print(f"{name:22s}{signs[name]:7.4f}{seven:13.4f}{best:14.3f}{least:12.4f}{100 * (seven / least - 1):15.2f} %")
ax.axvline(0.7, color="0.5", linewidth=1)
ax.set_xlabel("threshold, in units of the mean magnitude")
ax.set_ylabel("squared error\n(share of the squares)")
ax.set_title("Three levels with one scale; dots: the best of all thresholds")
ax.legend(fontsize=8)
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# For evenly spread weights the best factor is 2/3, for Gaussian ones 0.77; the curves are flat there, and 0.7 costs
# next to nothing. The longer the tails, the higher the best threshold, and the more 0.7 costs; for weights of which
# half are near 0 anyway it is far off. A zero is worth a lot: for Gaussian weights it nearly halves the error of
# signs.
#
# </details>

# %% [markdown]
# ## Exercise 3: trained ternary
#
# TTQ lets the two levels differ, $+W_p$ and $-W_n$, and *learns* both by gradient descent:
#
# $$ t_i = \begin{cases} W_p & w_i > \Delta \\ 0 & |w_i| \le \Delta \\ -W_n & w_i < -\Delta \end{cases}
# \qquad \Delta = 0.05 \cdot \max_i |w_i| . $$
#
# With $g_i = \partial L / \partial t_i$ the gradients of the two scales follow from the chain rule, and nothing about
# them is an estimate:
#
# $$ \frac{\partial L}{\partial W_p} = \sum_{w_i > \Delta} g_i, \qquad
# \frac{\partial L}{\partial W_n} = -\!\!\sum_{w_i < -\Delta} g_i . $$
#
# (The paper has no minus there, although its levels have one: a slip.) Only the gradient of the shadow weights
# is made up. TTQ passes $g_i$ on scaled by the level that the weight has: $W_p\, g_i$ above the threshold, $g_i$
# between, $W_n\, g_i$ below.
#
# Example: $w = (1, 0.01, -0.5)$, $W_p = 2$, $W_n = 3$ gives $t = (2, 0, -3)$. If $g = (10, 20, 30)$ arrives, $W_p$
# gets 10, $W_n$ gets $-30$, and $w$ gets $(20, 20, 90)$.


# %% nbgrader={"grade_id": "trained_ternary", "solution": true}
def trained_ternary(w, positive, negative, share=0.05):
    """Three levels, +positive, 0 and -negative, whose sizes are learnt (TTQ).

    Args:
        w: tensor of any shape with at least one number, float32 or float64, finite.
        positive, negative: W_p and W_n, tensors without a dimension, greater than 0, of w's dtype.
        share: number in [0, 1): the threshold is share times the largest magnitude in w. No argument is changed.

    Returns:
        A new tensor of w's shape and dtype: exactly positive where w is greater than the threshold, exactly -negative
        where w is less than minus the threshold, else 0.
        In the backward pass, with g the gradient of the result: positive gets the sum of g over the weights above the
        threshold, negative minus the sum of g over those below minus the threshold; w gets positive * g above, g
        between and negative * g below.
    """
    ### BEGIN SOLUTION
    threshold = share * w.abs().max()
    above, below = w > threshold, -w > threshold
    levels = torch.where(above, positive, torch.where(below, -negative, 0.0))
    slope = torch.where(above, positive, torch.where(below, negative, 1.0))
    return levels + (w - w.detach()) * slope
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_trained_ternary", "grade": true, "points": 3}
@probe
def ternary_backward(w, positive, negative, share, gradient):
    """Values of the student's result, and the gradients that arrive at w and at the two scales."""
    leaves = [x.detach().requires_grad_() for x in (w, positive, negative)]
    result = trained_ternary(*leaves) if share is None else trained_ternary(*leaves, share)
    (result * gradient).sum().backward()
    return result.detach(), [leaf.grad for leaf in leaves]


with check("trained_ternary"):
    level = "positive where w > share * max |w|, -negative where w < -share * max |w|, else 0"
    scales = "positive gets the sum of g above the threshold, negative minus the sum of g below"
    shadow = "w gets positive * g above, g between, negative * g below"
    kind = "the result has w's shape and dtype"
    hints = {
        level: "the threshold goes by the largest magnitude, of either sign; what happens exactly at it?",
        scales: "which weights have this scale as their level, and with which sign?",
        shadow: "three regions, three slopes: is one of them missing, or does another gradient come on top?",
        kind: "which step makes another dtype?",
    }

    def try_trained(rule, w, positive, negative, share=None, given=None):
        """One case, forward and backward, from the definition."""
        given = f"{given or f'w = {w.tolist()}'}, W_p = {positive}, W_n = {negative}, share {share or 'not given'}"
        ways = () if share is None else (share,)
        p, n = torch.tensor(positive, dtype=w.dtype), torch.tensor(negative, dtype=w.dtype)
        threshold = (0.05 if share is None else share) * w.abs().max()
        above, below = w > threshold, w < -threshold
        expected = torch.where(above, p, torch.where(below, -n, 0))
        before = state_of(w, p, n)
        result = expect_returns(lambda: trained_ternary(w, p, n, *ways), level, given=given, hint=hints[level])
        expect_unchanged(before, state_of(w, p, n), "no argument is changed", hint="which line writes into one?")
        expect_type(result, w.dtype, kind, shape=w.shape, given=given, hint=hints[kind])
        expect_equal(result, expected, level, given=given, hint=hints[level])
        g = (torch.arange(1, w.numel() + 1, dtype=w.dtype).reshape(w.shape) % 11) * 10  # small whole numbers
        got = expect_returns(lambda: ternary_backward(w, p, n, share, g), rule, given=given, hint=hints[rule])
        facts = f"{given}, g = 10, 20, 30, ..., 100, 0, 10, ..."
        expect_equal(got[0], expected, level, given=f"{given}, requiring gradients", hint=hints[level])
        sums = [(g * above).sum(), -(g * below).sum()]  # exact in float32
        expect_equal(got[1][1:], sums, scales, given=facts, hint=hints[scales])
        slope = torch.where(above, p, torch.where(below, n, 1))
        tiny = 4 * torch.finfo(w.dtype).eps * (g * slope)  # one product, in one order or another
        expect_close(got[1][0], g * slope, shadow, within=tiny, given=facts, hint=hints[shadow])

    for dtype in (torch.float32, torch.float64):
        try_trained(scales, torch.tensor([1.0, 0.01, -0.5], dtype=dtype), 2.0, 3.0)
        try_trained(shadow, torch.tensor([-4.0, 0.1, -0.1, 0.3, 0.2, -0.2], dtype=dtype), 0.5, 0.25)
        try_trained(level, torch.tensor([[4.0, 1.0], [-1.0, 1.25], [-1.5, 0.0]], dtype=dtype), 0.5, 2.0, 0.25)
        try_trained(level, torch.tensor([-8.0, 1.0, 2.5, -2.0, 2.0], dtype=dtype), 3.0, 1.5, 0.25)
        try_trained(level, torch.tensor([1.0, -1.0, 0.0, -0.0], dtype=dtype), 3.0, 1.5, 0.0)
        try_trained(scales, torch.tensor([1.0, 2.0], dtype=dtype), 0.75, 1.5)
        try_trained(scales, torch.tensor([-1.0, -2.0, 0.0], dtype=dtype), 0.75, 1.5)
        try_trained(level, torch.tensor([0.0, 0.0], dtype=dtype), 0.75, 1.5)
        try_trained(level, torch.tensor([1e-30, -2e-30, 0.0], dtype=dtype), 0.3, 0.1)
    g = generator()
    drawn = torch.randn(3, 4, 5, generator=g)
    for form, w in forms(drawn, (torch.float32, torch.float64), empty=False):
        try_trained(shadow, w, 0.7, 1.3, given=f"drawn, {form}")
        try_trained(level, w, 0.7, 1.3, 0.4, given=f"drawn, {form}")
    own, hint = "each call goes by the arguments that it gets", "what is kept between two calls?"
    one, two = torch.tensor([1.0, -3.0]), torch.tensor([-1.0, 3.0])
    sets = [(one, torch.tensor(2.0), torch.tensor(5.0)), (two, torch.tensor(0.5), torch.tensor(0.25))]
    for results in reused(trained_ternary, sets):
        expect_equal(results, [[2, -5], [-0.25, 0.5]], own, given="the same tensors, with other values", hint=hint)
    ### BEGIN HIDDEN TESTS
    for count in (1, 30, 1009):
        w = torch.randn(count, generator=g)
        p, n = (float(x) + 0.1 for x in torch.rand(2, generator=g))
        for share in (None, 0.2, 0.6):
            try_trained(shadow, w, p, n, share, given=f"{count} drawn weights")
    ### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 4: DoReFa
#
# DoReFa has a rule for all three things that training moves: activations, weights, gradients. With $k$ bits and $n =
# 2^k - 1$ steps, the grid is $0, \frac1n, \dots, 1$.
#
# - **Activations** are cut to $[0, 1]$ and rounded to the grid.
# - **Weights** are squeezed into $(-1, 1)$ by $\tanh$, stretched so that the largest is $\pm1$, and rounded there:
#   $$
#   t = \frac{\tanh w}{2 \max |\tanh w|} + \frac12, \quad \text{result} = \frac{2 \operatorname{round}(n t)}{n} - 1 .
#   $$
# - **Gradients** differ from example to example, so each one of a batch has its own range, $m = \max|g|$. They are
#   rounded at random, for rounded to the nearest, most would become equal. With $u$ drawn evenly from $[0, 1)$,
#   $$
#   s = n \left(\frac{g}{2m} + \frac12\right) + u - \frac12, \qquad
#   \text{result} = 2 m \left(\frac{\operatorname{round}(s)}{n} - \frac12\right) .
#   $$
#   The mean of the result over many $u$ is $g$.
#
# Activations and weights pass the gradient on as if `round` were not there; what is cut gets none. With one bit,
# DoReFa takes signs for the weights, with one scale for the whole layer.


# %% nbgrader={"grade_id": "dorefa", "solution": true}
def dorefa_activation(x, bits):
    """Activations on the grid 0, 1/n, ..., 1 with n = 2^bits - 1.

    Args:
        x: tensor of any shape, float32 or float64, finite. It is not changed.
        bits: whole number from 1 to 8.

    Returns:
        A new tensor of x's shape and dtype: x cut to [0, 1], times n, rounded (halves to even), divided by n.
        In the backward pass x gets the gradient of the result where 0 < x < 1, and 0 where x < 0 or x > 1.
    """
    ### BEGIN SOLUTION
    n = 2**bits - 1
    inside = x.clamp(0, 1)
    return straight_through((inside * n).round() / n, inside)
    ### END SOLUTION


def dorefa_weight(w, bits):
    """Weights on the grid -1, -1 + 2/n, ..., 1 with n = 2^bits - 1.

    Args:
        w: tensor of any shape, float32 or float64, finite, not all 0. It is not changed.
        bits: whole number from 2 to 8.

    Returns:
        A new tensor of w's shape and dtype: 2 round(n t) / n - 1 with the t of the text; the maximum is over all of w,
        and halves go to the even number.
        In the backward pass w gets what it would get from tanh(w) / max|tanh(w)|, the maximum differentiated, too.
    """
    ### BEGIN SOLUTION
    n = 2**bits - 1
    squeezed = torch.tanh(w)
    squeezed = squeezed / squeezed.abs().max()
    return straight_through(2 * (n * (squeezed / 2 + 0.5)).round() / n - 1, squeezed)
    ### END SOLUTION


def dorefa_gradient(g, bits, u):
    """Gradients on a grid of 2^bits values for each example, rounded at random.

    Args:
        g: tensor (B, ...) of B examples, two or more dimensions, float32 or float64, finite. It is not changed.
        bits: whole number from 1 to 8.
        u: tensor of g's shape and dtype with numbers in [0, 1). It is not changed.

    Returns:
        A new tensor of g's shape and dtype: 2 m (round(s) / n - 1/2) with the s of the text and the m of each example,
        halves to even; 0 for an example whose gradients are all 0.
    """
    ### BEGIN SOLUTION
    n = 2**bits - 1
    largest = g.abs().amax(dim=tuple(range(1, g.dim())), keepdim=True)
    s = n * (g / (2 * torch.where(largest > 0, largest, 1)) + 0.5) + u - 0.5
    return 2 * largest * (s.round() / n - 0.5)
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_dorefa", "grade": true, "points": 4}
@probe
def activation_backward(x, bits, gradient):
    """Values of the student's activations, and the gradient that arrives at x."""
    x = x.detach().requires_grad_()
    result = dorefa_activation(x, bits)
    (result * gradient).sum().backward()
    return result.detach(), x.grad


@probe
def weight_backward(w, bits, gradient):
    """Values of the student's weights, and the gradient that arrives at w."""
    w = w.detach().requires_grad_()
    result = dorefa_weight(w, bits)
    (result * gradient).sum().backward()
    return result.detach(), w.grad


with check("dorefa"):
    grid = "an activation is cut to [0, 1] and rounded to a multiple of 1/n"
    cut = "x gets the gradient of the result where 0 < x < 1, and 0 where x < 0 or x > 1"
    squeezed = "a weight is 2 round(n t) / n - 1"
    through = "w gets what it would get from tanh(w) / max |tanh(w)|"
    random = "a gradient is 2 m (round(s) / n - 1/2), with the m of its example"
    nothing = "gradients of an example that are all 0 stay 0"
    kind = "the result has the shape and dtype of the argument"
    hints = {
        grid: "cut first, then round; n is 2^bits - 1, and halves go to even",
        cut: "as if the forward pass had only cut: does rounding pass the gradient on?",
        squeezed: "tanh first, then the maximum of its magnitudes; is t between 0 and 1?",
        through: "the straight-through path is 2t - 1, which depends on w in two ways",
        random: "whose maximum is m, and where do u and the half belong?",
        nothing: "what is 0 / 0?",
        kind: "which step makes another dtype?",
    }
    unchanged = "arguments are not changed"

    def try_activation(rule, x, bits, given=None):
        """Forward and backward, from the definition; x must not lie near the middle of two levels by chance."""
        n, given = 2**bits - 1, f"{given or f'x = {x.tolist()}'}, {bits} bits"
        expected = (x.double().clamp(0, 1) * n).round() / n
        before = state_of(x)
        result = expect_returns(lambda: dorefa_activation(x, bits), rule, given=given, hint=hints[rule])
        expect_unchanged(before, state_of(x), unchanged, hint="which line writes into one?")
        expect_type(result, x.dtype, kind, shape=x.shape, given=given, hint=hints[kind])
        eps = 2 * torch.finfo(x.dtype).eps  # one division, or one product with a rounded 1/n
        expect_close(result, expected, grid, within=eps, given=given, hint=hints[grid])
        gradient = torch.arange(1, x.numel() + 1, dtype=x.dtype).reshape(x.shape)
        got = expect_returns(lambda: activation_backward(x, bits, gradient), cut, given=given, hint=hints[cut])
        expect_close(got[0], expected, grid, within=eps, given=given, hint=hints[grid])
        expect_type(got[1], x.dtype, cut, shape=x.shape, given=given, hint=hints[cut])
        ends = (x == 0) | (x == 1)
        expect_equal(got[1].where(~ends, 0), gradient * ((x > 0) & (x < 1)), cut, given=given, hint=hints[cut])

    def try_weight(w, bits, given=None):
        """Forward and backward, by autograd through what is not rounded."""
        n, given = 2**bits - 1, f"{given or f'w = {w.tolist()}'}, {bits} bits"
        path = w.detach().double().requires_grad_()
        ratio = path.tanh() / path.tanh().abs().max()
        expected = 2 * (n * (ratio.detach() / 2 + 0.5)).round() / n - 1
        before = state_of(w)
        result = expect_returns(lambda: dorefa_weight(w, bits), squeezed, given=given, hint=hints[squeezed])
        expect_unchanged(before, state_of(w), unchanged, hint="which line writes into one?")
        expect_type(result, w.dtype, kind, shape=w.shape, given=given, hint=hints[kind])
        eps = 8 * torch.finfo(w.dtype).eps  # a few operations on numbers up to 2
        expect_close(result, expected, squeezed, within=eps, given=given, hint=hints[squeezed])
        gradient = (torch.arange(w.numel(), dtype=w.dtype).reshape(w.shape) % 7) - 2
        (ratio * gradient).sum().backward()
        got = expect_returns(lambda: weight_backward(w, bits, gradient), through, given=given, hint=hints[through])
        expect_close(got[0], expected, squeezed, within=eps, given=given, hint=hints[squeezed])
        size = 16 * torch.finfo(w.dtype).eps * (path.grad.abs().max() + w.numel())  # a sum over all of w
        expect_close(got[1], path.grad, through, within=size, given=given, hint=hints[through])

    def off_middles(x):
        """The numbers, those near the middle of two whole numbers moved aside."""
        part = x - x.floor() - 0.5
        return torch.where(part.abs() < 0.01, x + 0.02, x)

    def try_gradient(rule, g, bits, u, given=None):
        """From the definition, in float64."""
        n, given = 2**bits - 1, f"{given or f'g = {g.tolist()}, u = {u.tolist()}'}, {bits} bits"
        size = g.double().flatten(1).abs().max(1).values.reshape(-1, *[1] * (g.dim() - 1))
        s = n * (g.double() / (2 * torch.where(size > 0, size, 1)) + 0.5) + u.double() - 0.5
        expected = 2 * size * (s.round() / n - 0.5)
        before = state_of(g, u)
        result = expect_returns(lambda: dorefa_gradient(g, bits, u), rule, given=given, hint=hints[rule])
        expect_unchanged(before, state_of(g, u), unchanged, hint="which line writes into one?")
        expect_type(result, g.dtype, kind, shape=g.shape, given=given, hint=hints[kind])
        eps = 8 * torch.finfo(g.dtype).eps * size  # a few operations on numbers up to m
        expect_close(result, expected, rule, within=eps, given=given, hint=hints[rule])

    g = generator()
    for dtype in (torch.float32, torch.float64):
        try_activation(grid, torch.tensor([0.5, 0.49, 0.51, 0.0, 1.0, -0.75, 1.75], dtype=dtype), 1)
        try_activation(grid, torch.tensor([0.1, 0.2, 0.5, 0.8, 0.9, -3.0, 7.0, 1e30, -1e30], dtype=dtype), 2)
        try_activation(cut, torch.tensor([[-0.01, 0.0, 0.3], [1.0, 1.01, -0.0]], dtype=dtype), 3)
        try_weight(torch.tensor([1e-3, -2e-3, 5e-4], dtype=dtype), 4)
        try_weight(torch.tensor([0.5, -1.0, 0.1, 2.0, -0.3], dtype=dtype), 2)
        try_weight(torch.tensor([[0.5, -3.0], [0.1, 0.0], [-0.2, 1.1]], dtype=dtype), 3)
        try_weight(torch.tensor(-0.7, dtype=dtype), 2)
        two = torch.tensor([[1.0, -0.5, 0.25], [0.1, 0.02, -0.2]], dtype=dtype)
        for noise in (0.05, 0.3, 0.9):
            try_gradient(random, two, 2, torch.full_like(two, noise))
        try_gradient(random, two, 1, torch.tensor([[0.1, 0.2, 0.7], [0.8, 0.6, 0.999]], dtype=dtype))
        zeros = torch.tensor([[0.0, 0.0], [0.0, -2.0]], dtype=dtype)
        try_gradient(nothing, zeros, 2, torch.tensor([[0.2, 0.9], [0.2, 0.9]], dtype=dtype))
        tiny = two * 1e-30
        try_gradient(random, tiny, 4, torch.full_like(tiny, 0.3))
    for bits in range(1, 9):
        n = 2**bits - 1
        drawn = off_middles(torch.rand(3, 4, 5, generator=g, dtype=torch.float64) * 2 * n - n / 2) / n
        for form, x in forms(drawn, (torch.float32, torch.float64)):
            if bits in (1, 3, 8):
                try_activation(grid, x, bits, f"drawn, {form}")
        drawn = torch.randn(2, 3, 4, generator=g, dtype=torch.float64)
        scale = drawn.tanh().abs().max()
        drawn[0, 0, 0] = 3.0  # the largest, whatever the others become
        t = off_middles(n * (drawn.tanh() / (2 * math.tanh(3)) + 0.5)) / n
        drawn = ((t.clamp(0.03, 0.97) - 0.5) * 2 * math.tanh(3)).atanh().where(drawn != 3, drawn)
        t = n * (drawn.tanh() / (2 * math.tanh(3)) + 0.5)
        drawn = drawn.where((t - t.floor() - 0.5).abs() > 1e-3, drawn * 0.999)
        for form, w in forms(drawn, (torch.float32, torch.float64), empty=False):
            if bits in (2, 5):
                try_weight(w, bits, f"drawn, {form}")
        gradients = torch.randn(4, 3, 2, generator=g, dtype=torch.float64) * torch.tensor([1e-3, 1, 50, 0]).view(
            4, 1, 1
        )
        size = gradients.flatten(1).abs().max(1).values.view(4, 1, 1).clamp(min=1e-9)
        place = n * (gradients / (2 * size) + 0.5)
        u = torch.rand(4, 3, 2, generator=g, dtype=torch.float64) * 0.9
        u = (off_middles(place + u - 0.5) - place + 0.5).clamp(0, 0.999)
        for values, noise in ((gradients, u), (gradients.float(), u.float())):
            try_gradient(random, values, bits, noise, "drawn, shape (4, 3, 2)")
            flat = values.transpose(1, 2).contiguous().transpose(1, 2)
            try_gradient(random, flat, bits, noise, "drawn, shape (4, 3, 2), not contiguous")
    own, hint = "each call goes by the arguments that it gets", "what is kept between two calls?"
    for results in reused(dorefa_activation, [(torch.tensor([0.1, 0.9]), 1), (torch.tensor([0.8, 0.2]), 1)]):
        expect_equal(results, [[0, 1], [1, 0]], own, given="dorefa_activation, the same x with other values", hint=hint)
    for results in reused(dorefa_weight, [(torch.tensor([1.0, -1.0]), 2), (torch.tensor([-2.0, 2.0]), 2)]):
        expect_close(results, [[1, -1], [-1, 1]], own, within=1e-6, given="the same w with other values", hint=hint)
    half = torch.tensor([[0.5, 0.5]])
    sets = [(torch.tensor([[1.0, -1.0]]), 1, half), (torch.tensor([[-4.0, 4.0]]), 1, half)]
    for results in reused(dorefa_gradient, sets):
        expect_equal(results, [[[1, -1]], [[-4, 4]]], own, given="the same g with other values", hint=hint)
    ### BEGIN HIDDEN TESTS
    for bits in (1, 2, 4, 7):
        n = 2**bits - 1
        x = off_middles(torch.rand(1009, generator=g, dtype=torch.float64) * 2 * n - n / 2) / n
        try_activation(grid, x, bits, "1009 drawn activations")
        gradients = torch.randn(3, 101, generator=g, dtype=torch.float64)
        place = n * (gradients / (2 * gradients.abs().max(1, keepdim=True).values) + 0.5)
        u = torch.rand(3, 101, generator=g, dtype=torch.float64) * 0.9
        u = (off_middles(place + u - 0.5) - place + 0.5).clamp(0, 0.999)
        try_gradient(random, gradients, bits, u, "3 examples of 101 drawn gradients")
    ### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 5: levels for half a Gaussian
#
# Batch normalisation makes what enters a ReLU nearly Gaussian, with mean 0 and deviation 1, in every layer. So HWGQ
# calculates its levels *once*, for that distribution, and uses them everywhere. What is not positive becomes 0; for
# the positive half it asks for the levels $q_1 < \dots < q_m$ with the least mean squared error. Lloyd's algorithm
# begins with any increasing levels above 0, say evenly spread up to 3, and repeats two steps until nothing moves:
#
# 1. A number goes to its nearest level, so the borders lie in the middle: $t_i = (q_{i-1} + q_i)/2$, with $t_1 = 0$
#    and $t_{m+1} = \infty$.
# 2. Each level moves to the mean of its cell, for a Gaussian
#    $q_i = \dfrac{\varphi(t_i) - \varphi(t_{i+1})}{\Phi(t_{i+1}) - \Phi(t_i)}$.
#
# Here $\varphi(t) = e^{-t^2/2} / \sqrt{2\pi}$, and $\Phi(b) - \Phi(a) = \frac12 \left(\operatorname{erfc}(a/\sqrt2) -
# \operatorname{erfc}(b/\sqrt2)\right)$: `math.erfc` keeps its digits far out. (The paper runs Lloyd on random numbers,
# and makes the levels equally far apart for the hardware.)
#
# Example: one level is the mean of the positive half, $\sqrt{2/\pi} = 0.7979$. Two are 0.4528 and 1.5104.
#
# In training the backward pass takes the staircase for a ReLU that is cut at the last level.


# %% nbgrader={"grade_id": "half_wave", "solution": true}
def half_wave_levels(count):
    """The best levels for the positive half of a Gaussian, by Lloyd's algorithm (HWGQ).

    Args:
        count: how many, a whole number from 1 to 15.

    Returns:
        The levels, a float64 tensor (count,), increasing: each is the mean of its cell within 1e-9, with the borders in
        the middle between levels.
    """
    ### BEGIN SOLUTION
    levels = [3 * (i + 0.5) / count for i in range(count)]
    for _ in range(2500):  # 15 levels take 1,900 until none moves by more than 1e-11
        borders = [0.0, *((a + b) / 2 for a, b in itertools.pairwise(levels)), math.inf]
        density = [math.exp(-t * t / 2) / math.sqrt(2 * math.pi) for t in borders]
        beyond = [math.erfc(t / math.sqrt(2)) / 2 for t in borders]
        levels = [(density[i] - density[i + 1]) / (beyond[i] - beyond[i + 1]) for i in range(count)]
    return torch.tensor(levels, dtype=torch.float64)
    ### END SOLUTION


def half_wave(x, levels):
    """Activations on 0 and the levels.

    Args:
        x: tensor of any shape, float32 or float64, finite. It is not changed.
        levels: tensor (m,) of x's dtype, increasing, greater than 0. It is not changed.

    Returns:
        A new tensor of x's shape and dtype: 0 where x <= 0, else the nearest level; exactly between two, the lower one.
        In the backward pass x gets the gradient of the result between 0 and the last level, and 0 outside.
    """
    ### BEGIN SOLUTION
    borders = (levels[:-1] + levels[1:]) / 2
    nearest = levels[torch.bucketize(x.contiguous(), borders)]
    inside = (x > 0) & (x <= levels[-1])
    return straight_through(torch.where(x > 0, nearest, 0.0), torch.where(inside, x, 0.0))
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_half_wave", "grade": true, "points": 3}
@probe
def half_wave_backward(x, levels, gradient):
    """Values of the student's result, and the gradient that arrives at x."""
    x = x.detach().requires_grad_()
    result = half_wave(x, levels)
    (result * gradient).sum().backward()
    return result.detach(), x.grad


with check("half_wave"):
    many = "half_wave_levels gives a float64 tensor of count increasing levels"
    mean = "each level is the mean of its cell, within 1e-9"
    least = "no levels nearby have a smaller mean squared error"
    nearest = "half_wave gives the nearest level where x > 0"
    zero = "half_wave gives 0 where x <= 0"
    lower = "exactly between two levels the lower one is taken"
    window = "x gets the gradient of the result between 0 and the last level, and 0 outside"
    kind = "half_wave's result has x's shape and dtype"
    hints = {
        many: "is it a tensor, and of which dtype?",
        mean: "do both steps, and go on until no level moves by more than 1e-11: some two thousand times for 15",
        least: "the borders lie in the middle between two levels",
        nearest: "which borders belong to which level?",
        zero: "a small positive number goes to the first level, zero does not",
        lower: "torch.bucketize has an argument for which side a border belongs to",
        window: "a ReLU that is cut: what does it pass on beyond the last level?",
        kind: "which step makes another dtype?",
    }

    def cell_means(levels):
        """The mean of each cell; float64 tensor (m,)."""
        borders = torch.cat([torch.zeros(1), (levels[:-1] + levels[1:]) / 2, torch.tensor([math.inf])]).double()
        density = (-borders.square() / 2).exp() / math.sqrt(2 * math.pi)
        return (density[:-1] - density[1:]) / (torch.special.erfc(borders / math.sqrt(2)) / -2).diff()

    points = torch.arange(0.0005, 9, 0.001, dtype=torch.float64)  # middles of small steps, far beyond the last level
    density = (-points.square() / 2).exp() / math.sqrt(2 * math.pi) * 0.001

    def error_of(levels):
        """The mean squared error over the positive half, by adding up small steps."""
        return float(((points[:, None] - levels).square().min(1).values * density).sum())

    def try_levels(count):
        """Levels that two independent conditions call best."""
        given = f"count = {count}"
        levels = expect_returns(lambda: half_wave_levels(count), many, given=given, hint=hints[many])
        expect_type(levels, torch.float64, many, shape=(count,), given=given, hint=hints[many])
        expect(((levels > 0) & (levels < 9)).all() and (levels.diff() > 0).all(), many, given=given, got=levels)
        expect_close(levels, cell_means(levels), mean, within=1e-9, given=given, hint=hints[mean])
        reached, moved = error_of(levels), torch.eye(count, dtype=torch.float64) * 0.02
        for one in moved:
            others = min(error_of(levels + one), error_of(levels - one))
            expect(others > reached, least, given=given, got=levels, hint=hints[least])
        return levels

    # Max's quantizers for a whole Gaussian (1960), of 2, 4, 6 and 8 levels: their positive half
    for count, published in (
        (1, [0.7980]),
        (2, [0.4528, 1.510]),
        (3, [0.3177, 1.000, 1.894]),
        (4, [0.2451, 0.7560, 1.344, 2.152]),
    ):
        rule = "the levels are those that Max published in 1960, within his digits"
        expect_close(try_levels(count), published, rule, within=1e-3, given=f"count = {count}", hint=hints[mean])
    try_levels(7)
    try_levels(15)

    def try_half_wave(rule, x, levels, given=None):
        """Forward and backward, from the definition."""
        given = f"{given or f'x = {x.tolist()}'}, levels {[round(q, 4) for q in levels.tolist()]}"
        distance = (x.double().clamp(max=2 * float(levels[-1]))[..., None] - levels.double()).abs()
        expected = levels.double()[distance.argmin(-1)].where(x > 0, 0.0)  # of equal distances argmin takes the first
        before = state_of(x, levels)
        result = expect_returns(lambda: half_wave(x, levels), rule, given=given, hint=hints[rule])
        expect_unchanged(
            before, state_of(x, levels), "x and levels are not changed", hint="which line writes into them?"
        )
        expect_type(result, x.dtype, kind, shape=x.shape, given=given, hint=hints[kind])
        expect_equal(result, expected, rule, given=given, hint=hints[rule])
        gradient = torch.arange(1, x.numel() + 1, dtype=x.dtype).reshape(x.shape)
        got = expect_returns(lambda: half_wave_backward(x, levels, gradient), window, given=given, hint=hints[window])
        expect_equal(got[0], expected, rule, given=given, hint=hints[rule])
        expect_type(got[1], x.dtype, window, shape=x.shape, given=given, hint=hints[window])
        inside, ends = (x > 0) & (x < levels[-1]), (x == 0) | (x == levels[-1])
        expect_equal(got[1].where(~ends, 0), gradient * inside, window, given=given, hint=hints[window])

    g = generator()
    for dtype in (torch.float32, torch.float64):
        three = torch.tensor([0.25, 1.0, 1.75], dtype=dtype)
        try_half_wave(zero, torch.tensor([-2.0, -0.1, -0.0, 0.0], dtype=dtype), three)
        try_half_wave(nearest, torch.tensor([1e-30, 0.1, 0.5, 0.7, 1.2, 1.4, 1.6, 9.0, 1e30], dtype=dtype), three)
        try_half_wave(lower, torch.tensor([0.625, 1.375], dtype=dtype), three)
        try_half_wave(window, torch.tensor([1.75, 1.7500001, 1.76, 1e-30, 0.0, -1e-30, 0.2], dtype=dtype), three)
        try_half_wave(nearest, torch.tensor([-1.0, 0.1, 5.0], dtype=dtype), torch.tensor([0.798], dtype=dtype))
    drawn = 2 * torch.randn(3, 4, 5, generator=g)
    for form, x in forms(drawn, (torch.float32, torch.float64)):
        uneven = torch.tensor([0.1, 0.3, 0.9, 2.5], dtype=x.dtype)
        try_half_wave(nearest, x, uneven, f"drawn, {form}")
    own, hint = "each call goes by the x and levels that it gets", "what is kept between two calls?"
    three = torch.tensor([0.25, 1.0, 1.75])
    sets = [(torch.tensor([0.1, -1.0]), three), (torch.tensor([-1.0, 2.0]), 2 * three)]
    for results in reused(half_wave, sets):
        expect_equal(results, [[0.25, 0], [0, 2.0]], own, given="the same x and levels, other values", hint=hint)
    ### BEGIN HIDDEN TESTS
    for count in (5, 6, 10, 14):
        levels = try_levels(count)
        try_half_wave(nearest, 2 * torch.randn(1009, generator=g, dtype=torch.float64), levels, "1009 drawn numbers")
    ### END HIDDEN TESTS

# %% [markdown]
# **Even levels, and the best ones.** HWGQ makes its levels multiples of one step, so that products are whole numbers
# times one scale. What does that cost, for a Gaussian? And what if small numbers could go to 0, too?

# %% tags=["explore"]
from course_utils.low_bit import half_wave_error
from course_utils.low_bit import half_wave_levels as course_levels

print("bits   best levels (yours)   multiples of one step      step    multiples, and 0 for less than half a step")
for bits in (1, 2, 3):
    own = half_wave_error(half_wave_levels(2**bits - 1))
    even, zero = course_levels(bits, uniform=True), course_levels(bits, uniform=True, rounds_to_zero=True)
    print(f"{bits:3d}{own:19.4f}{half_wave_error(even):22.4f}{float(even[0]):16.4f}", end="")
    print(f"{half_wave_error(zero, rounds_to_zero=True):22.4f}")

figure, ax = plt.subplots(figsize=(7.2, 3.2))
x = torch.linspace(-1, 3.5, 901, dtype=torch.float64)
ax.plot(x, x.clamp(min=0), color="0.6", label="ReLU")
ax.plot(x, half_wave(x, half_wave_levels(3)), color=COLOURS["blue"], label="best levels, 2 bits")
ax.plot(x, half_wave(x, course_levels(2)), "--", color=COLOURS["vermillion"], label="multiples of one step")
ax.fill_between(
    x, 0, (-x.square() / 2).exp() / math.sqrt(2 * math.pi), color=COLOURS["sky"], alpha=0.5, label="density"
)
ax.set_xlabel("what enters, in deviations")
ax.set_ylabel("activation")
ax.legend(fontsize=8)
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# The numbers have the mean square 1; their negative half is cut away, which leaves 0.5: so much would be lost by
# setting everything to 0. With two bits even levels cost half as much again, with three two thirds. Letting small
# numbers go to 0 would take away nearly half of the error of even levels with one and two bits, a third with three;
# HWGQ does not do it: its zeros are those of the ReLU.
#
# </details>

# %% [markdown]
# ## Exercise 6: incremental quantization
#
# LogNet and INQ use levels that are powers of two, so that a product becomes a shift. INQ does not estimate any
# gradient. It fixes weights for good, a part at a time, and lets the float weights that are left make up for the
# error:
#
# 1. *Partition*: of the weights not fixed yet, those of the largest magnitude, up to a share of all weights.
# 2. *Quantize* these to the nearest of $0, \pm 2^{n_2}, \dots, \pm 2^{n_1}$, and fix them.
# 3. *Retrain* the rest. Then the next share: half, three quarters, seven eighths, all.
#
# The exponents follow from the largest weight and the bits $b$, one of which is for the zero:
#
# $$ n_1 = \Big\lfloor \log_2 \tfrac{4 \max|w|}{3} \Big\rfloor, \qquad n_2 = n_1 + 1 - 2^{b - 2} . $$
#
# **Nearest in value**: between $\beta/2$ and $\beta$ the border is $\frac34 \beta$, not where the logarithms meet, at
# $\beta/\sqrt2$. Below the smallest power the border to 0 is half of it. A border belongs to the larger magnitude.
#
# Example: $w = (0.9, -0.4, 0.2, 0.01)$ and 4 bits: $n_1 = \lfloor\log_2 1.2\rfloor = 0$, $n_2 = 0 + 1 - 4 = -3$. Half
# of the weights are fixed: $0.9 \to 1$ and $-0.4 \to -0.5$. The others stay as they are.


# %% nbgrader={"grade_id": "inq_step", "solution": true}
def inq_exponents(w, bits):
    """The largest and smallest exponent of INQ's powers of two.

    Args:
        w: tensor of any shape, float32 or float64, finite, not all 0; 4/3 of its largest magnitude is no power of two.
        bits: whole number from 3 to 6.

    Returns:
        A tuple (n1, n2) of Python ints.
    """
    ### BEGIN SOLUTION
    highest = math.floor(math.log2(4 * float(w.abs().max()) / 3))
    return highest, highest + 1 - 2 ** (bits - 2)
    ### END SOLUTION


def inq_step(w, fixed, share, n1, n2):
    """Fixes the next weights to powers of two.

    Args:
        w: tensor of any shape, float32 or float64, finite.
        fixed: bool tensor of w's shape: which weights are fixed already.
        share: number in [0, 1]: so many of all weights are fixed afterwards, rounded to a whole number, halves to even.
            It asks for no fewer than are fixed already.
        n1, n2: Python ints, n1 >= n2. No argument is changed.

    Returns:
        A tuple (weights, fixed) of new tensors, like w and fixed. Weights that were fixed already stay as they are and
        stay fixed. Of the others, those of the largest magnitude are fixed, as many as are missing, and become the
        nearest of 0 and +-2^n2, ..., +-2^n1; exactly between two, the one of larger magnitude. Of equal magnitudes
        any may come first. All others stay as they are.
    """
    ### BEGIN SOLUTION
    missing = round(share * w.numel()) - int(fixed.sum())
    size = w.abs()
    order = size.masked_fill(fixed, -1.0).flatten().argsort(descending=True)
    chosen = torch.zeros(w.numel(), dtype=torch.bool)
    chosen[order[:missing]] = True
    chosen = chosen.reshape(w.shape)
    levels = torch.tensor([0.0] + [2.0**n for n in range(n2, n1 + 1)], dtype=w.dtype)
    borders = (levels[:-1] + levels[1:]) / 2
    nearest = levels[torch.bucketize(size.contiguous(), borders, right=True)]
    return torch.where(chosen, w.sign() * nearest, w), fixed | chosen
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_inq_step", "grade": true, "points": 3}
with check("inq_step"):
    ends = "n1 is the floor of log2(4 max |w| / 3), and n2 = n1 + 1 - 2^(bits - 2)"
    whole = "the exponents are a tuple of two Python ints"
    count = "afterwards round(share * number of weights) are fixed"
    largest = "of the weights not fixed yet, those of the largest magnitude are fixed"
    power = "a weight that is fixed becomes the nearest of 0 and +-2^n2 .. +-2^n1"
    border = "exactly between two, the one of larger magnitude is taken"
    stay = "weights fixed before, and those not fixed, stay as they are"
    kind = "the result is a tuple (weights, fixed) of tensors like w and fixed"
    hints = {
        ends: "the floor, not the nearest; the largest magnitude of either sign",
        whole: "int(...), or math.floor of a Python float",
        count: "a share of all weights, not of those that are left; how many are fixed already?",
        largest: "what do you sort, and can a weight that is fixed already come first again?",
        power: "nearest in value, not in the logarithm; which powers are there, and where does 0 begin?",
        border: "to which side does your comparison put a weight on the border?",
        stay: "to which weights does your result differ from w?",
        kind: "which step makes another dtype or shape?",
    }

    def try_exponents(largest_of_them, bits, n1, dtype=torch.float32):
        """Exponents for a w with this largest magnitude."""
        those = torch.tensor([[largest_of_them / 3, 0.0], [-largest_of_them / 2, largest_of_them]], dtype=dtype)
        for w in (those, -those):
            given = f"w = {w.tolist()}, {bits} bits"
            before = state_of(w)
            got = expect_returns(lambda w=w: inq_exponents(w, bits), ends, given=given, hint=hints[ends])
            expect_unchanged(before, state_of(w), "w is not changed", hint="which line writes into it?")
            expect(isinstance(got, tuple) and len(got) == 2, whole, given=given, got=got, hint=hints[whole])
            for n in got:
                expect_type(n, int, whole, given=given, hint=hints[whole])
            expect_equal(list(got), [n1, n1 + 1 - 2 ** (bits - 2)], ends, given=given, hint=hints[ends])

    for largest_weight, bits, n1 in (
        (0.9, 4, 0),
        (0.9, 5, 0),
        (0.7, 5, -1),
        (0.74, 3, -1),
        (0.76, 6, 0),
        (1.4, 5, 0),
        (1.6, 5, 1),
        (0.004, 5, -8),
        (100.0, 4, 7),
        (1e-30, 5, -100),
        (1e30, 5, 100),
    ):
        try_exponents(largest_weight, bits, n1)
        try_exponents(largest_weight, bits, n1, torch.float64)

    def try_step(rule, w, fixed, share, n1, n2, given=None):
        """One step, from the definition; magnitudes of weights not fixed all differ."""
        fixed = torch.as_tensor(fixed).reshape(w.shape)
        given = f"{given or f'w = {w.tolist()}, fixed {fixed.tolist()}'}, share {share}, n1 = {n1}, n2 = {n2}"
        before = state_of(w, fixed)
        got = expect_returns(lambda: inq_step(w, fixed, share, n1, n2), rule, given=given, hint=hints[rule])
        expect_unchanged(before, state_of(w, fixed), "no argument is changed", hint="which line writes into one?")
        expect(isinstance(got, tuple) and len(got) == 2, kind, given=given, got=got, hint=hints[kind])
        expect_type(got[0], w.dtype, kind, shape=w.shape, given=given, hint=hints[kind])
        expect_type(got[1], torch.bool, kind, shape=w.shape, given=given, hint=hints[kind])
        size = w.double().abs()
        left = size[~fixed].sort(descending=True).values
        missing = round(share * w.numel()) - int(fixed.sum())
        chosen = ~fixed & (size >= left[missing - 1]) if missing else torch.zeros_like(fixed)
        expect_equal(got[1].sum(), round(share * w.numel()), count, given=given, hint=hints[count])
        expect_equal(got[1], fixed | chosen, largest, given=given, hint=hints[largest])
        levels = torch.tensor([2.0**n for n in range(n1, n2 - 1, -1)] + [0.0], dtype=torch.float64)
        distance = (size[..., None] - levels).abs()
        rounded = w.sign() * levels[distance.argmin(-1)]  # of equal distances argmin takes the first, the larger level
        expect_equal(got[0].where(chosen, 0.0), rounded.where(chosen, 0.0), rule, given=given, hint=hints[rule])
        expect_equal(got[0].where(~chosen, 0.0), w.where(~chosen, 0.0), stay, given=given, hint=hints[stay])

    none = [False] * 4
    for dtype in (torch.float32, torch.float64):
        w = torch.tensor([0.9, -0.4, 0.2, 0.01], dtype=dtype)
        try_step(power, w, none, 0.5, 0, -3)
        try_step(power, w, none, 1, 0, -3)
        try_step(power, w, none, 0, 0, -3)
        try_step(count, w, [True, False, False, False], 0.5, 0, -3)
        try_step(largest, w, [False, False, True, True], 0.75, 0, -3)
        try_step(stay, torch.tensor([0.7, -0.3, 0.2, -0.1], dtype=dtype), [True, False, True, False], 0.75, 0, -3)
        try_step(count, torch.tensor([[0.7], [0.6], [0.5], [0.4], [0.3]], dtype=dtype), [False] * 5, 0.5, 0, -3)
        try_step(count, torch.tensor([0.7, 0.6, 0.3], dtype=dtype), [False] * 3, 0.5, 0, -3)
        w = torch.tensor([0.74, 0.72, -0.71, 0.36, 0.07, 0.05, -0.03, 3.0], dtype=dtype)
        try_step(power, w, [False] * 8, 1, 0, -3)
        w = torch.tensor([0.75, -0.375, 0.1875, -0.0625], dtype=dtype)
        try_step(border, w, none, 1, 0, -3)
        try_step(border, torch.tensor([6.0, -3.0, 1.5, 0.5, -0.75], dtype=dtype), [False] * 5, 1, 3, 0)
        try_step(power, torch.tensor([0.0, -0.0, 0.9, -5.0, 0.4], dtype=dtype)[2:], [False] * 3, 1, 0, 0)
        try_step(stay, torch.tensor([0.5, 0.25], dtype=dtype), [True, True], 1, 0, -3)
    for values, share in (([0.5, -0.5, 0.5, 0.5], 0.5), ([0.4, 0.9, -0.4, 0.4], 0.5), ([0.3, 0.3, 0.3, -0.3], 0.75)):
        w, given = torch.tensor(values), f"w = {values}, none fixed yet, share {share}: equal magnitudes"
        got = expect_returns(
            lambda w=w, share=share: inq_step(w, torch.zeros(4).bool(), share, 0, -3), count, given=given
        )
        expect_equal(got[1].sum(), int(share * 4), count, given=given, hint="of equal ones, how many come first?")
        expect(bool(got[1][w.abs().argmax()]) or values[0] != 0.4, largest, given=given, hint=hints[largest])
    tiny = torch.tensor([1.1, -0.6, 0.2], dtype=torch.float64) * 2.0**-200
    try_step(power, tiny, [False] * 3, 1, -200, -203)
    g = generator()
    drawn = torch.randn(3, 4, 5, generator=g)
    for form, w in forms(drawn, (torch.float32, torch.float64), empty=False):
        done = torch.rand(w.shape, generator=g) < 0.3
        for share in (0.5, 0.875, 1):
            if share * w.numel() >= int(done.sum()):
                try_step(power, w, done, share, 1, -6, f"drawn, {form}")
    own, hint = "each call goes by the arguments that it gets", "what is kept between two calls?"
    no = torch.tensor([False, False])
    sets = [(torch.tensor([0.9, 0.1]), no, 0.5, 0, -3), (torch.tensor([0.2, 0.6]), no, 0.5, 0, -3)]
    for results in reused(inq_step, sets):
        for (weights, fixed), expected in zip(results, ([1, 0.1], [0.2, 0.5]), strict=True):
            expect_close(weights, expected, own, within=1e-6, given="the same tensors, with other values", hint=hint)
            expect_equal(fixed, [w in (1, 0.5) for w in expected], own, given="the same tensors", hint=hint)
    ### BEGIN HIDDEN TESTS
    for size in (1, 7, 1009):
        w = torch.randn(size, generator=g, dtype=torch.float64)
        done = torch.rand(size, generator=g) < 0.2
        for share in (0.75, 1):
            if share * size >= int(done.sum()):
                try_step(power, w, done, share, 1, -2, f"{size} drawn weights")
    for size in (0.3, 2.0, 17.3):
        for bits in (3, 4, 5, 6):
            try_exponents(size, bits, math.floor(math.log2(size * 4 / 3)))
    ### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 7: the product without multiplications
#
# If both factors are signs, 64 of them fit into one machine word, bit 1 for $+1$ and bit 0 for $-1$. Two signs have
# the product $+1$ where their bits agree. So of $L$ products
#
# $$ \text{dot} = \#\text{agree} - \#\text{differ} = L - 2 \cdot \#\text{differ}, \qquad
# \#\text{differ} = \text{ones of } (a \text{ xor } b) . $$
#
# XNOR-Net counts the agreements, by XNOR; it comes to the same, except for the bits of the **padding**: where $L$ is no
# multiple of 64, the last word has bits that stand for nothing. Make them 0 in both factors, and an XOR does not see
# them.
#
# `count_ones` is given above. The operators `^`, `&`, `|`, `<<` and `>>` work on int64 tensors, bit by bit. Bit 63 of
# an int64 has the value $-2^{63}$.
#
# Example, $L = 3$: $a = (1, -1, 1)$ is the word 5 (binary 101), $b = (1, 1, -1)$ is 3 (binary 011).
# $5 \text{ xor } 3 = 6$ has two ones: $3 - 2 \cdot 2 = -1$, and $1 \cdot 1 + (-1) \cdot 1 + 1 \cdot (-1) = -1$.


# %% nbgrader={"grade_id": "xnor_dot", "solution": true}
def pack_signs(x):
    """The signs of each row as bits of 64-bit words.

    Args:
        x: tensor (N, L), float32 or float64, no NaN; N and L are 1 or more. It is not changed.

    Returns:
        int64 tensor (N, ceil(L / 64)): bit j of word k is 1 where x[:, 64 k + j] >= 0, j = 0 .. 63, bit 0 having the
        value 1 and bit 63 the value -2^63. Bits that stand for nothing, from L on, are 0.
    """
    ### BEGIN SOLUTION
    words = -(-x.shape[1] // 64)
    bits = F.pad((x >= 0).long(), (0, 64 * words - x.shape[1])).reshape(len(x), words, 64)
    return (bits << torch.arange(64)).sum(-1)
    ### END SOLUTION


def xnor_dot(a, b, length):
    """The product of two matrices of signs, from packed words.

    Args:
        a: int64 tensor (M, W), M rows of signs as `pack_signs` gives them.
        b: int64 tensor (N, W), likewise. Neither is changed.
        length: L, how many signs a row has; W = ceil(L / 64).

    Returns:
        int64 tensor (M, N): for each row of a and each row of b the sum of the L products of their signs.
    """
    ### BEGIN SOLUTION
    return length - 2 * count_ones(a[:, None, :] ^ b[None, :, :]).sum(-1)
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_xnor_dot", "grade": true, "points": 3}
with check("xnor_dot"):
    bit = "bit j of word k is 1 where x[:, 64 k + j] >= 0"
    padding = "bits from L on are 0"
    words = "pack_signs gives an int64 tensor (N, ceil(L / 64))"
    dot = "the sum of the L products of signs, for each row of a and each row of b"
    kind = "xnor_dot gives an int64 tensor (M, N)"
    hints = {
        bit: "which power of two belongs to the first sign of a word, and what is the sign of 0?",
        padding: "which bits do the missing signs get?",
        words: "how many words does a row of 64 signs need, how many one of 65?",
        dot: "how many bits differ, and by how much does each of them lower the sum?",
        kind: "rows of a down, rows of b across; whole numbers",
    }

    def words_of(x):
        """The words by Python's whole numbers."""
        rows = [[int(v >= 0) for v in row] for row in x.tolist()]
        packed = [
            [sum(b << j for j, b in enumerate(row[start : start + 64])) for start in range(0, len(row), 64)]
            for row in rows
        ]
        return torch.tensor([[w - 2**64 if w >= 2**63 else w for w in row] for row in packed])

    def try_pack(rule, x, given):
        """Packed words, bit by bit."""
        before = state_of(x)
        got = expect_returns(lambda: pack_signs(x), rule, given=given, hint=hints[rule])
        expect_unchanged(before, state_of(x), "x is not changed", hint="which line writes into it?")
        expected = words_of(x)
        expect_type(got, torch.int64, words, shape=expected.shape, given=given, hint=hints[words])
        expect_equal(got, expected, rule, given=given, hint=hints[rule])

    def try_dot(x, y, given):
        """The product against one of whole numbers."""
        a, b, length = words_of(x), words_of(y), x.shape[1]
        before = state_of(a, b)
        got = expect_returns(lambda: xnor_dot(a, b, length), dot, given=given, hint=hints[dot])
        expect_unchanged(before, state_of(a, b), "a and b are not changed", hint="which line writes into them?")
        expect_type(got, torch.int64, kind, shape=(len(x), len(y)), given=given, hint=hints[kind])
        signs_x, signs_y = (torch.where(z >= 0, 1, -1) for z in (x, y))
        expect_equal(got, signs_x @ signs_y.T, dot, given=given, hint=hints[dot])

    for dtype in (torch.float32, torch.float64):
        try_pack(bit, torch.ones(1, 64, dtype=dtype), "64 ones")
        try_pack(bit, torch.cat([-torch.ones(2, 63), torch.ones(2, 1)], 1).to(dtype), "63 times -1, then 1")
        try_pack(padding, torch.ones(2, 65, dtype=dtype), "65 ones")
        try_pack(padding, -torch.ones(1, 70, dtype=dtype), "70 times -1")
        try_pack(bit, torch.tensor([[1.0, -1.0, 1.0], [1.0, 1.0, -1.0]], dtype=dtype), "(1, -1, 1) and (1, 1, -1)")
        try_pack(
            bit, torch.tensor([[0.0, -0.0, -1e-30, 1e-30, -5.0, math.inf]], dtype=dtype), "0, -0, -1e-30, 1e-30, ..."
        )
    g = generator()
    for length in (1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 129, 200, 1009):
        x, y = torch.randn(3, length, generator=g), torch.randn(5, length, generator=g)
        try_pack(bit, x, f"3 rows of {length} drawn numbers")
        try_dot(x, y, f"3 and 5 rows of {length} drawn signs")
        try_dot(x, x[:1], f"3 rows of {length} drawn signs, and the first one of them")
        try_dot(-x[:1], x[:1], f"a row of {length} drawn signs, and its opposite")
    x = torch.randn(70, 3, generator=g).T
    try_pack(bit, x, "shape (3, 70), not contiguous")
    a, b = words_of(x).T.contiguous().T, words_of(-x).T.contiguous().T
    signs = torch.where(x >= 0, 1, -1)
    expect_equal(xnor_dot(a, b, 70), -signs @ signs.T, dot, given="words that are not contiguous", hint=hints[dot])
    own, hint = "each call goes by the arguments that it gets", "what is kept between two calls?"
    one, two = torch.tensor([[1.0, -1.0], [1.0, 1.0]]), torch.tensor([[-1.0, 1.0], [-1.0, -1.0]])
    for results in reused(pack_signs, [(one,), (two,)]):
        for result, expected in zip(results, ([[1], [3]], [[2], [0]]), strict=True):
            expect_equal(result, expected, own, given="the same x, with other values", hint=hint)
    five, three, none, all_of_them = (torch.tensor([[word]]) for word in (5, 3, 0, 7))
    for results in reused(xnor_dot, [(five, three, 3), (none, all_of_them, 3)]):
        for result, expected in zip(results, (-1, -3), strict=True):
            expect_equal(result, [[expected]], own, given="the same a and b, with other values", hint=hint)
    ### BEGIN HIDDEN TESTS
    for length in (5, 62, 66, 191, 193, 5003):
        x, y = torch.randn(4, length, generator=g), torch.randn(2, length, generator=g)
        try_pack(bit, x, f"4 rows of {length} drawn numbers")
        try_dot(x, y, f"4 and 2 rows of {length} drawn signs")
    ### END HIDDEN TESTS

# %% [markdown]
# ## Train two of them
#
# The network is small: three convolutions and two linear layers, 75,000 weights, with a batch normalization behind
# each. `with_rules` makes it with rules of yours: every weight tensor goes through the first one in each forward pass,
# what enters a layer through the second. The first and last layer stay in float. All train on 10,000 generated images
# with the same number of steps, and everything else is equal, too.
#
# Choose two names of `rules` beside float. What do you expect: who is nearest to float, who is last?

# %% tags=["explore"]
from course_utils.data import shapes
from course_utils.low_bit import fit, refresh_norms, replace_layers, small_network
from course_utils.networks import accuracy, normalize

CHOSEN = ("TWN", "signs and signs")
STEPS = 600

images, labels = shapes(train=True)
test_images, test_labels = shapes(train=False, count=4000)
test_images = normalize(test_images)


def scaled(quantize):
    """A rule: codes times alpha, the gradient straight through."""

    def rule(w):
        codes, alpha = quantize(w)
        return straight_through(alpha * codes, w)

    return rule


class Trained(nn.Module):
    """A rule with the two scales of trained ternary."""

    def __init__(self, w):
        super().__init__()
        self.positive, self.negative = (nn.Parameter(w.detach().abs().mean()) for _ in range(2))

    def forward(self, w):
        return trained_ternary(w, self.positive, self.negative)


class Recorded(nn.Module):
    """A rule that notes what goes in and what comes out, now and then, while it trains."""

    def __init__(self, rule, every=25):
        super().__init__()
        self.rule, self.every, self.calls, self.history = rule, every, 0, []

    def forward(self, w):
        seen = self.rule(w)
        if self.training and self.calls % self.every == 0:
            self.history.append((self.calls, w.detach().clone(), seen.detach().clone()))
        self.calls += self.training
        return seen

    def after_step(self, w):
        w.clamp_(-1, 1)  # as BinaryConnect does: see question 1


rules = {  # name: (for a layer, the rule of its weights; the rule of what enters it)
    "signs": (lambda layer: binarize, None),
    "BWN": (lambda layer: scaled(binary_weight), None),
    "TWN": (lambda layer: scaled(ternary_weight), None),
    "TTQ": (lambda layer: Trained(layer.weight), None),
    "signs and signs": (lambda layer: binarize, binarize),
    "BWN, DoReFa 2 bits": (lambda layer: scaled(binary_weight), lambda x: dorefa_activation(x, 2)),
    "BWN, half-wave 2 bits": (
        lambda layer: scaled(binary_weight),
        lambda x: half_wave(x, half_wave_levels(3).float()),
    ),
}


def with_rules(name, ends=False):
    """The network with the rules of this name; `ends`: in the first and last layer, too."""
    torch.manual_seed(0)
    network = small_network()
    if name == "float":
        return network
    weights, inputs = rules[name]
    return replace_layers(network, lambda layer: Recorded(weights(layer)), inputs, ends=ends)


networks, reached = {}, {}


def train(name, ends=False):
    network = with_rules(name, ends)
    fit(network, images, labels, STEPS, 0.01, torch.Generator().manual_seed(0))
    refresh_norms(network, images[:5000])  # signs flip until the last step: means and variances anew
    title = name + (", ends too" if ends else "")
    networks[title], reached[title] = network, accuracy(network, test_images, test_labels)
    print(f"{title:32s}{reached[title]:.4f}")


print(f"share of {len(test_images):,} test images recognised after {STEPS} steps")
for name in ("float", *CHOSEN):
    train(name)

# %% [markdown]
# **First and last.** A star in the document's table means that the first and the last layer keep float weights, and
# the last one float inputs. What happens if they do not? (The image itself stays as it is.)

# %% tags=["explore"]
train(CHOSEN[1], ends=True)

# %% [markdown]
# <details><summary>Answer</summary>
#
# The first layer has few weights, and three channels of an image carry more than signs can; in the last one each output
# decides about a class, and no later layer makes up for its errors. Both together are 4 % of the weights, but a quarter
# of the products: float is cheap here in memory, less so in work, and it buys much. How much stands in the stored table
# below, with three seeds; one run says little.
#
# </details>
#
# **Weights as they are trained.** Go through the training of a layer. Above are its shadow weights, below what the
# network sees of them. How far do shadow weights get, and what drives them? How many signs change on the way?

# %% tags=["explore"]
from course_utils.demos import shadow_weights_demo, shadow_weights_still

histories = {
    f"{title}, layer {place}": layer.weight_rule.history
    for title, network in networks.items()
    for place, layer in network.named_children()
    if place in ("3", "6") and title != "float"
}
shadow_weights_demo(histories)

# %% tags=["explore"]
shadow_weights_still({name: history for name, history in histories.items() if "layer 6" in name and "ends" not in name})

# %% [markdown]
# <details><summary>Answer</summary>
#
# They begin where the network was initialised, near 0, and spread: a gradient that keeps its direction pushes a shadow
# weight on and on, although what the network sees does not change any more. With signs alone nothing would ever stop
# it but the cut to $[-1, 1]$ after each step (what for, question 1 asks); in so few steps most of them stay far from
# these ends. How many signs have changed, the line above the picture says.
#
# </details>
#
# ## What a product costs
#
# The point of signs on both sides is the product. The cell multiplies a 4096 x 4096 matrix with a vector three ways,
# all in one thread, and takes the least of several times: torch's float product, your `xnor_dot`, and the same thing
# as a compiled loop of the course. All three must agree.

# %% tags=["explore"]
import time

from course_utils.low_bit import xnor_matvec

SIZE = 4096
matrix = torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(1)).sign()
vector = torch.randn(1, SIZE, generator=torch.Generator().manual_seed(2)).sign()
packed, packed_vector = pack_signs(matrix), pack_signs(vector)
ways = {
    "float32 product": lambda: matrix @ vector[0],
    "your xnor_dot": lambda: xnor_dot(packed, packed_vector, SIZE)[:, 0],
    "compiled loop": lambda: xnor_matvec(packed, packed_vector[0], SIZE),
}
results, least = [], dict.fromkeys(ways, math.inf)
for _ in range(15):  # in turn, so that a busy moment hits all of them
    for name, way in ways.items():
        start = time.perf_counter()
        results.append(way())
        least[name] = min(least[name], time.perf_counter() - start)
print("all agree:", all(torch.equal(result.long(), results[0].long()) for result in results))
print(f"bytes of the matrix: {matrix.nbytes:,} as float32, {packed.nbytes:,} packed")
for name, seconds in least.items():
    print(f"{name:18s}{1e3 * seconds:9.3f} ms{least['float32 product'] / seconds:9.1f} times as fast as float")

# %% [markdown]
# Your version reads as few bytes as the compiled loop. Why is it slower? And where does the gain over float come from?
#
# <details><summary>Answer</summary>
#
# Each line of `count_ones` writes a whole tensor to memory and reads it again, a dozen times; the compiled loop keeps
# a word in a register, and one machine instruction counts its ones. A matrix times a vector uses each number of the
# matrix once, so the float product waits for memory, and there are 32 times fewer bytes to wait for. How much that is
# worth depends on what fits into the processor's caches.
#
# </details>

# %% [markdown]
# ## What the field reports
#
# The document's table and ours side by side. Ours was made by a script that is part of the course
# (`data/train/train_low_bit.py`): one small network, equal images and steps for every method, three seeds, all 10,000
# test images. Two things differ: the document's loss is in points of top-5 accuracy of a large AlexNet on ImageNet,
# trained for weeks by the respective authors; ours is in points of top-1, after a training so short that anybody can
# repeat it. Compare the order, not the size.

# %% tags=["explore"]
from course_utils.low_bit import METHODS
from course_utils.low_bit.table import TableError, read_table

tables = {}
for dataset in ("cifar10", "shapes"):
    try:
        tables[dataset] = read_table(dataset)
    except TableError as missing:
        print(missing)

for dataset, table in tables.items():
    facts, seeds = table.facts, len(table.lines[0].accuracies)
    print(
        f"{dataset}: {facts['steps']} steps of {facts['batch']} images, {facts['test_images']:,} test images, ", end=""
    )
    print(f"{seeds} seed{'s' if seeds > 1 else ''}")
    print("                                  bits of weights, inputs   accuracy (spread)   loss, points   document")
    for line in table.lines:
        if line.ends == (not METHODS[line.method].keeps_ends):  # as in its paper
            star = "" if line.ends else "*"
            bits = ", ".join(f"{n}{star if n < 32 else ''}" for n in (line.weight_bits, line.activation_bits))
            spread = f"({line.spread:.4f})" if len(line.accuracies) > 1 else ""
            document = "" if line.alexnet_loss is None else f"{line.alexnet_loss:.2f}"
            print(f"{line.method:32s}{bits:>16s}{line.mean:19.4f} {spread:8s}{line.loss:13.2f}{document:>12s}")
    print()

# %% tags=["explore"]
figure = plt.figure(figsize=(10, 4.2))
for place, (dataset, table) in enumerate(tables.items(), start=1):
    ax = figure.add_subplot(1, len(tables), place)
    starred = [line for line in table.lines if METHODS[line.method].keeps_ends and line.weight_bits < 32]
    names = list(dict.fromkeys(line.method for line in starred))
    for ends, marker, colour in ((False, "o", "blue"), (True, "s", "vermillion")):
        losses = {line.method: line.loss for line in starred if line.ends == ends}
        label = "first and last layer, too" if ends else "first and last layer float"
        ax.plot(losses.values(), [names.index(name) for name in losses], marker, color=COLOURS[colour], label=label)
    ax.set_yticks(range(len(names)), names)
    ax.set_xlabel("loss against float (points)")
    ax.set_title(f"{dataset}: what the stars are worth")
    ax.legend(fontsize=8)
plt.show()

# %% [markdown]
# Is the order the document's? Where it is not, what could be the reason?
#
# <details><summary>Answer</summary>
#
# On CIFAR-10 the groups are in the same order, if one leaves out BinaryConnect (in the document, and here the
# stochastic one) and TTQ (here): float activations cost little, those of two bits more, of one bit most. Within a group
# the order differs. INQ starts from a trained network, and in so short a training it spends half of its steps on that;
# in its paper that training was free. TTQ learns slowest here; why is not measured. BinaryConnect and BNN lose far more
# in the document than here: their figures come from an AlexNet of other authors, with the first and last layer
# quantized, on a harder task. A small network on ten classes forgives more. And a difference of a point or two between
# runs of one seed is chance.
#
# **On CIFAR-10 XNOR-Net is behind BNN**, in the document 19 points before it. One part of it makes the difference: $K$,
# by which each sum is multiplied: the mean magnitude of the inputs that it is made of. Without $K$, all else equal, it
# has 0.482 and not 0.459; with the first and last layer quantized, as BNN has them, 0.464 and not 0.431, like BNN's
# 0.467. And BNN with float ends falls by as much when $K$ is added, from 0.482 to 0.460. The batch normalization behind
# each layer has scaled the sums anyway; $K$ brings in a factor that differs from place to place.
#
# On the generated shapes every run has 1,500 steps: after 500, BNN and QNN guessed among ten classes. The groups are in
# the same order, again without BinaryConnect's stochastic way and TTQ; but QNN, with inputs of two bits, is no better
# than BNN. XNOR-Net is ahead of BNN there, as in the document, and its float ends make the difference: with the first
# and last layer quantized it is behind.
#
# </details>

# %% [markdown]
# ## Recap
#
# - Shadow weights in float collect small steps; the forward pass sees their signs or levels; the backward pass takes a
#   smoother function for the staircase.
# - One scale a filter makes signs the nearest ones to the weights; a zero halves the error once more, and its
#   threshold need not be exact. Two learnt scales cost nothing at run time.
# - Weights of one or two bits are cheap in accuracy; activations of one bit are not, of two bits nearly. First and
#   last layer in float are cheap insurance.
# - With signs on both sides, 64 products are an XOR and a count of bits.
#
# Three questions to finish. A few sentences each, with numbers where you can.

# %% [markdown]
# ### Question 1 (2 points): a weight that will not flip
#
# A shadow weight stands at $0.41$; the learning rate is $0.01$, the optimizer plain gradient descent, and the gradient
# at its sign is $2$ in every step. After how many steps does the network see another sign? Now the shadow weight
# stands at $1.2$, and the gradient is that of `binarize`. After how many steps now? Say what BinaryConnect does after
# each step so that this cannot happen.

# %% [markdown] nbgrader={"grade_id": "why_shadow_weights", "grade": true, "solution": true, "points": 2}
# **Model answer.** Each step moves it by $0.01 \cdot 2 = 0.02$ downwards. After 20 steps it is at $0.01$, after 21 at
# $-0.01$: so the network sees $-1$ after 21 steps. At 1.2 the straight-through gradient is 0, because $|w| > 1$: it
# never moves, and never flips. BinaryConnect cuts shadow weights to $[-1, 1]$ after each step, so none ever stands
# where its gradient is 0 for good.
#
# *Marking: 1 point for 21 steps. 1 point for "never" with the cutting as the cure.*

# %% [markdown]
# ### Question 2 (2 points): what the padding costs
#
# A convolution of signs has padding at the border of the image. Zeros are what float networks pad with. Why can an
# `xnor_dot` not pad with zeros? Name two ways out, and say for one of them what changes in the result for a corner
# pixel of a 3 x 3 convolution over 16 channels.

# %% [markdown] nbgrader={"grade_id": "why_padding", "grade": true, "solution": true, "points": 2}
# **Model answer.** A bit stands for $-1$ or $+1$; there is no third value, so a zero cannot be packed. Ways out: pad
# with $+1$ (or $-1$) and train the network so; or give each row its own length and leave the missing products out; or
# keep a mask and subtract what the padding contributed. A corner sees 4 of 9 places, so $5 \cdot 16 = 80$ of its 144
# products are padding: with $+1$ the sum moves by the sum of these 80 weights, at most 80, in comparison with padding
# by zeros.
#
# *Marking: 1 point for "no bit pattern for 0". 1 point for two ways with 80 products (or their sum of weights).*

# %% [markdown]
# ### Question 3 (2 points): which method?
#
# A chip has 64-bit XOR and population count and no multiplier, and 100 kB for weights. Your network has one million
# weights and loses two points with ternary weights and float activations. Which methods of the table can this chip run
# as they are, and what is the least storage of the weights for signs, for three levels stored in 2 bits, and for INQ
# with 5 bits? Which methods fit the storage? (None may be an answer. Leave the first and the last layer out of
# account.)

# %% [markdown] nbgrader={"grade_id": "which_method", "grade": true, "solution": true, "points": 2}
# **Model answer.** XOR and count multiply signs with signs: XNOR-Net and BNN run as they are (activations of 2 bits,
# too, as two products of bits with a shift, if one says so); methods with float activations need additions of floats,
# which the chip does not have. Storage: signs $10^6/8 = 125{,}000$ bytes, three levels in 2 bits $250{,}000$, INQ
# $625{,}000$. None fits 100 kB; signs come nearest and need a network a fifth smaller. (Three levels can be coded in
# fewer than 2 bits, but never below 1 unless zeros are the rule.)
#
# *Marking: 1 point for signs on both sides with the reason. 1 point for the three sizes and "none fits".*
