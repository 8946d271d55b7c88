# ---
# jupyter:
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
#   course:
#     title: A layer in whole numbers
#     minutes: 165
#     check_seconds: 10
#     withhold:
#       - course_utils.quantization.integer_layers
#       - course_utils.demos.layer_error
#       - torch._int_mm
#       - torch.ops.quantized.linear
#       - torch.ops.quantized.conv2d
#       - aten::_int_mm
# ---

# %% [markdown]
# # A layer in whole numbers
#
# **Goal.** You build the arithmetic inside every quantized network: matrix products of 8-bit codes, a real factor as a
# multiplication and a shift, and a layer that takes codes and returns codes. Afterwards you can follow a number through
# a quantized layer by hand, and say how many bits each step needs. **Time:** two and a half to three hours. You need
# Python, linear algebra and a little torch. No earlier lab is needed.
#
# include: how_to_work.md
#
# Refused here: `course_utils.quantization.integer_layers`, and torch's own integer matrix product and quantized layers.
#
# <details><summary>The sources</summary>
#
# "The thesis": *Quantization Profiler for Artificial Neural Networks* by Martin Lindström and Jakob Hök (Lund
# University, 2020). The arithmetic is older: B. Jacob and others, *Quantization and Training of Neural Networks for
# Efficient Integer-Arithmetic-Only Inference* (2018).
#
# </details>

# %%
import math
import numbers
import warnings

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from course_utils.checks import *
from course_utils.numerics import affine
from course_utils.pictures import COLOURS, use_course_style

use_course_style()
# An even kernel with padding="same" is an ordinary one here
warnings.filterwarnings("ignore", "Using padding='same' with even kernel")


def quantize_tensor(x, min_val=None, max_val=None, num_bits=8):
    """Real numbers to codes 0 .. 2^num_bits - 1 (lab 02). The range is widened to contain 0.

    Returns (q, scalefactor, zeropoint): float32 tensor of whole numbers, Python float, Python int.
    """
    x = x.detach().float()
    low = min(float(x.min()) if min_val is None else min_val, 0.0)
    high = max(float(x.max()) if max_val is None else max_val, 0.0)
    scalefactor = (high - low) / (2**num_bits - 1) or 1.0
    zeropoint = round(-low / scalefactor)
    q = torch.clamp(torch.round(x.double() / scalefactor) + zeropoint, 0, 2**num_bits - 1)
    return q.float(), scalefactor, zeropoint


def dequantize_tensor(q, scalefactor, zeropoint):
    """Codes back to real numbers: scalefactor * (q - zeropoint)."""
    return (scalefactor * (q.double() - zeropoint)).float()


def make_layer(kind, weight, bias=None, *, training=True, **ways):
    """A torch layer with given numbers in it, for the checks: kind is "linear" or "conv".

    training: else it is in eval mode, and its parameters need no gradient.
    ways: stride, padding, dilation, groups, padding_mode of a convolution.
    """
    if kind == "linear":
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    else:
        in_channels = weight.shape[1] * ways.get("groups", 1)
        layer = nn.Conv2d(in_channels, weight.shape[0], tuple(weight.shape[2:]), bias=bias is not None, **ways)
    layer = layer.to(weight.dtype).train(training).requires_grad_(training)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
    for parameter in layer.parameters():
        parameter.grad = torch.ones_like(parameter) if training else None
    layer.register_forward_hook(lambda *_: None)  # somebody's, which must stay
    return layer


def matrices_of_codes(shapes, generator):
    """Matrices of codes for the checks: (what they are, a_q, a_zero, b_q, b_zero), in pairs of every dtype."""
    dtypes = torch.float32, torch.uint8, torch.int8, torch.int32, torch.int64
    zeros = (3, -2), (0, 5), (7, 0), (255, 128), (1, 1), (-128, 127)
    for number, (rows, n, columns) in enumerate(shapes):
        for place, a_dtype in enumerate(dtypes):
            b_dtype = dtypes[(place + number) % 5]
            ends = {torch.float32: (-255, 256), torch.uint8: (0, 256), torch.int8: (-128, 128)}
            a_q = torch.randint(*ends.get(a_dtype, (-40_000, 40_001)), (n, rows), generator=generator).to(a_dtype).T
            b_q = torch.randint(*ends.get(b_dtype, (-40_000, 40_001)), (n, columns), generator=generator).to(b_dtype)
            names = [str(dtype).removeprefix("torch.") for dtype in (a_dtype, b_dtype)]
            for a_zero, b_zero in (zeros[(number + place) % 6], (-100_003, 70_001))[: 2 if n < 10 else 1]:
                facts = f"{names[0]} ({rows}, {n}) and {names[1]} ({n}, {columns}), zero points {a_zero} and {b_zero}"
                yield facts, a_q, a_zero, b_q, b_zero


# %% [markdown]
# ## Idea
#
# Lab 02 in two lines. A grid is a **scale factor** $\Delta$ (its step) and a **zero point** $Z$ (the code that means
# 0). A code $q$ stands for the real number $\Delta\,(q - Z)$. For the range $[a, b]$ and 8 bits $\Delta = (b - a)/255$
# and $Z = \operatorname{round}(-a/\Delta)$, halves to the even neighbour as Python and torch round: $[-1, 1]$ has
# $-a/\Delta = 127.5$ and the zero point 128.
#
# Now let a layer multiply two matrices that are stored as codes. Element $(i, j)$ of the product of $A$ and $B$ is
#
# $$
# C_{ij} = \sum_{k=1}^{N} \Delta_A (A^q_{ik} - Z_A)\; \Delta_B (B^q_{kj} - Z_B)
#        = \Delta_A \Delta_B \underbrace{\sum_{k=1}^{N} (A^q_{ik} - Z_A)(B^q_{kj} - Z_B)}_{\textstyle acc_{ij}} .
# $$
#
# The two real numbers leave the sum, where all the work is; what stays in it is whole numbers. It is called the
# **accumulator**. One accumulator step is worth $\Delta_A \Delta_B$.
#
# The next layer wants codes again, on a grid $\Delta_C, Z_C$ of its own. So the accumulator is divided by $\Delta_C$,
# rounded, and shifted to the zero point (Lund thesis, equation 2.18):
#
# $$
# C^q_{ij} = \operatorname{saturate}\bigl( Z_C + \operatorname{round}( M \cdot acc_{ij} ) \bigr),
# \qquad M = \frac{\Delta_A \Delta_B}{\Delta_C} .
# $$
#
# To *saturate* means: what leaves the range of codes becomes the lowest or the largest code.
#
# One real number $M$ is left per layer. You will write it as a whole number and a shift, so that nothing real is left
# at all. The picture shows a number's way through a layer, with the bits that each step needs.

# %% tags=["explore"]
steps = [
    ("input codes\nweight codes", "8 bits each", "sky"),
    ("multiply,\naccumulate", "32 bits", "blue"),
    ("add bias", "32 bits", "blue"),
    ("times multiplier", "63 bits", "vermillion"),
    ("shift, round", "32 bits", "vermillion"),
    ("add zero point,\nsaturate", "8 bits", "sky"),
]
figure, axes = plt.subplots(figsize=(9.5, 2.2))
for place, (text, width, colour) in enumerate(steps):
    axes.add_patch(plt.Rectangle((place * 1.6, 0), 1.3, 1, facecolor=COLOURS[colour], alpha=0.35, edgecolor="black"))
    axes.text(place * 1.6 + 0.65, 0.62, text, ha="center", va="center", fontsize=9)
    axes.text(place * 1.6 + 0.65, 0.2, width, ha="center", va="center", fontsize=9, fontweight="bold")
    if place:
        axes.annotate(
            "",
            xy=(place * 1.6, 0.5),
            xytext=(place * 1.6 - 0.3, 0.5),
            arrowprops={"arrowstyle": "-|>", "color": "black"},
        )
axes.annotate("exercises 1, 2", (2.25, -0.3), ha="center")
axes.annotate("exercises 3, 4: the factor M", (5.45, -0.3), ha="center")
axes.text(4.65, 1.2, "exercise 5: all of it", ha="center")
axes.set_xlim(-0.1, 9.4)
axes.set_ylim(-0.45, 1.4)
axes.axis("off")
plt.show()

# %% [markdown]
# **Codes in this lab** are whole numbers, mostly in `float32` tensors ("pseudo-quantization", as in lab 02), because
# torch's tools work on them. Accumulators get too large for `float32`: it holds every whole number only up to $2^{24}$.
# So sums belong into `int64`. (`float64` does as well: it is exact up to $2^{53}$, and nothing here gets larger.) Real
# hardware has 32 bits.
#
# <details><summary>For the curious: how the thesis tells it</summary>
#
# Section 2.3.2 of the Lund thesis sums the way up in four steps: multiply-accumulate, add the bias, rescale, saturate.
# Two things are missing there. The zero point $Z_C$ must be added between the last two, as its own equation 2.18 says.
# And "int32 = rescale(int32)" needs more than 32 bits on the way: the product of a 32-bit accumulator and a 31-bit
# multiplier has up to 63, with its sign.
#
# </details>

# %% [markdown]
# ## Exercise 1: four terms
#
# Hardware likes to multiply the codes as they are: 8 bits times 8 bits. $A^q - Z_A$ has a ninth bit, the sign. So
# multiply the bracket out (Lund thesis, equation 2.19):
#
# $$
# acc_{ij} = \underbrace{\sum_k A^q_{ik} B^q_{kj}}_{\text{products}}
#  \;-\; \underbrace{Z_A \sum_k B^q_{kj}}_{\text{column term}}
#  \;-\; \underbrace{Z_B \sum_k A^q_{ik}}_{\text{row term}}
#  \;+\; \underbrace{N Z_A Z_B}_{\text{constant}}
# $$
#
# The column term has no $i$: one number per column of $B$. The row term has no $j$: one number per row of $A$. Only the
# products cost $N$ multiplications per element.
#
# By hand, with $Z_A = 2$ and $Z_B = 5$:
#
# $$
# A^q = \begin{pmatrix} 1 & 2 & 3 \\ 4 & 5 & 6 \end{pmatrix} \qquad
# B^q = \begin{pmatrix} 10 & 0 \\ 7 & 4 \\ 1 & 9 \end{pmatrix}
# $$
#
# - products, element (0, 0): $1 \cdot 10 + 2 \cdot 7 + 3 \cdot 1 = 27$
# - column term, column 0: $2 \cdot (10 + 7 + 1) = 36$
# - row term, row 0: $5 \cdot (1 + 2 + 3) = 30$
# - constant: $3 \cdot 2 \cdot 5 = 30$
#
# Together $27 - 36 - 30 + 30 = -9$. Directly: $(1-2)(10-5) + (2-2)(7-5) + (3-2)(1-5) = -5 + 0 - 4 = -9$.
#
# Convert the codes before you compute. `torch.uint8` wraps around at 256: in it, $200 + 100$ is 44.


# %% nbgrader={"grade_id": "four_terms", "solution": true}
def four_terms(a_q, a_zero, b_q, b_zero):
    """The four terms of a product of two matrices of codes (Lund thesis, equation 2.19).

    With them, products - column_term - row_term + constant is the accumulator.

    Args:
        a_q: codes of A, shape (rows, N), at least one row; float32, uint8, int8, int32 or int64. Not changed.
        a_zero: zero point of A, a whole number, which need not fit into the codes' dtype.
        b_q: codes of B, shape (N, columns), at least one column; of one of these dtypes, A's or another one. Not
            changed.
        b_zero: zero point of B, as a_zero.

    Returns:
        A tuple (products, column_term, row_term, constant):
        products: int64 tensor (rows, columns), the sums of a_q * b_q.
        column_term: int64 tensor (1, columns), a_zero times the column sums of b_q.
        row_term: int64 tensor (rows, 1), b_zero times the row sums of a_q.
        constant: Python int, N * a_zero * b_zero.
        All are exact for sums of any length, also of none (N = 0). Nothing on the way passes 2^53.
    """
    ### BEGIN SOLUTION
    a, b = a_q.to(torch.int64), b_q.to(torch.int64)
    column_term = a_zero * b.sum(dim=0, keepdim=True)
    row_term = b_zero * a.sum(dim=1, keepdim=True)
    return a @ b, column_term, row_term, a.shape[1] * a_zero * b_zero
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_four_terms", "grade": true, "points": 3}
with check("four_terms"):

    def try_four_terms(facts, a_q, a_zero, b_q, b_zero, products, column_term, row_term, constant):
        """One case against its four terms; then the codes must be what they were."""
        before = state_of(a_q, b_q)
        rule = "codes of every dtype and shape have four terms"
        hint = "is there a step that works for some dtypes or shapes only?"
        result = expect_returns(lambda: four_terms(a_q, a_zero, b_q, b_zero), rule, given=facts, hint=hint)
        rule = "the result is a tuple (products, column_term, row_term, constant)"
        hint = "return all four, separated by commas"
        expect(isinstance(result, tuple) and len(result) == 4, rule, given=facts, got=result, hint=hint)
        for tensor in result[:3]:
            expect_type(tensor, torch.int64, "the three tensors are int64", given=facts, hint="when do you convert?")
        hint = "a shape holds ints, and the zero points are whole numbers: no tensor is needed"
        expect_type(result[3], int, "constant is a Python int", given=facts, hint=hint)
        wide = "in which dtype? Small whole numbers wrap around; float32 has gaps above 2^24, int32 ends at 2^31"
        rules = {
            "products are the plain matrix product of the codes, exact for every dtype": (products, wide),
            "column_term is a_zero times the sum of each column of b_q, shape (1, columns)": (
                column_term,
                "whose zero point goes with the sums of B? Is the shape (1, columns), the sign +, the sum exact?",
            ),
            "row_term is b_zero times the sum of each row of a_q, shape (rows, 1)": (
                row_term,
                "whose zero point goes with the sums of A? Is the shape (rows, 1), the sign +, the sum exact?",
            ),
            "constant is N * a_zero * b_zero": (constant, "N is how many products are summed"),
        }
        for (rule, (expected, hint)), got in zip(rules.items(), result, strict=True):
            expect_equal(got, expected, rule, given=facts, hint=hint)
        rule, hint = "the codes themselves are not changed", "-= and methods that end in _ write into their tensor"
        expect_unchanged(before, state_of(a_q, b_q), rule, hint=hint)

    a_q = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    b_q = torch.tensor([[10.0, 0.0], [7.0, 4.0], [1.0, 9.0]])
    try_four_terms("the example above", a_q, 2, b_q, 5, [[27, 35], [81, 74]], [[36, 26]], [[30], [75]], 30)
    facts, terms = "other codes of the same shapes", ([[90, 96], [198, 174]], [[72, 52]], [[45], [90]], 30)
    try_four_terms(facts, a_q + 1, 2, b_q * 2, 5, *terms)
    a_q, b_q = torch.tensor([[100, 120, 50]]), torch.tensor([[90], [101], [127]])
    for dtype in (torch.float32, torch.uint8, torch.int8, torch.int32, torch.int64):
        try_four_terms(
            f"{dtype}: row 100, 120, 50, column 90, 101, 127; zero points 3 and 110",
            *(a_q.to(dtype), 3, b_q.to(dtype), 110),
            *([[27470]], [[954]], [[29700]], 990),
        )
    long, short = torch.tensor([[2**31 - 1, 6]]), torch.tensor([[7, -3]])
    for dtype in (torch.int32, torch.int64):
        for a_q, b_q, terms in (
            (long, short, ([[15032385511]], [[12]], [[-4294967306]], -12)),
            (short, long, ([[15032385511]], [[6442450959]], [[-8]], -12)),
        ):
            facts = f"{dtype} codes {a_q.tolist()[0]} and {b_q.tolist()[0]}; zero points 3 and -2"
            try_four_terms(facts, a_q.to(dtype), 3, b_q.T.to(dtype), -2, *terms)
    codes = torch.tensor([[-128, 5], [127, -1]], dtype=torch.int8)
    try_four_terms(
        "negative int8 codes and zero points; B is A transposed, a view",
        *(codes, -128, codes.T, 127),
        *([[16409, -16261], [-16261, 16130]], [[15744, -16128]], [[-15621], [16002]], -32512),
    )
    n = 70_001  # odd, so that float32 cannot hold 255 * n; and 255 * 255 * n is more than 2^31
    for dtype in (torch.float32, torch.uint8):
        codes = torch.full((1, n), 255).to(dtype)
        try_four_terms(
            f"{n} times code 255 in A and in B, both zero points 255, {dtype}",
            *(codes, 255, codes.T, 255),
            *([[n * 255**2]], [[n * 255**2]], [[n * 255**2]], n * 255**2),
        )
    try_four_terms(
        "N = 0: shapes (1, 0) and (0, 2)", torch.zeros(1, 0), 3, torch.zeros(0, 2), 5, [[0, 0]], [[0, 0]], [[0]], 0
    )

    def wanted(a_q, a_zero, b_q, b_zero):
        """The four terms, in float64: exact, for none passes 2^53."""
        a, b = a_q.double(), b_q.double()
        terms = a @ b, a_zero * b.sum(0, keepdim=True), b_zero * a.sum(1, keepdim=True)
        return *(term.long() for term in terms), len(b_q) * a_zero * b_zero

    shapes = (
        (3, 7, 2),
        (1, 1, 1),
        (4, 1, 3),
        (3, 5, 1),
        (2, 0, 3),
        (4, 4, 4),
        (1031, 2, 1),
        (1, 3, 1031),
        (1, 70_001, 2),
    )
    for facts, *matrices in matrices_of_codes(shapes, generator()):
        try_four_terms(facts, *matrices, *wanted(*matrices))
    rule, hint = "each call goes by the codes as they are then", "what is kept, or handed out, and changes later?"
    for dtype in (torch.float32, torch.uint8, torch.int8, torch.int32, torch.int64):
        for n in (1, 3):
            a_q, b_q = torch.arange(2 * n).reshape(2, n).to(dtype), torch.arange(n, 3 * n).reshape(n, 2).to(dtype)
            sets = (a_q, 1, b_q, 1), (a_q + 1, 1, b_q + 2, 1), (a_q, 5, b_q, -3)
            facts = f"the same two {dtype} tensors, N = {n}, with other codes in them at the second call"
            for results in reused(four_terms, sets):
                expect_equal(results, [wanted(*matrices) for matrices in sets], rule, given=facts, hint=hint)
    ### BEGIN HIDDEN TESTS
    g = generator()
    for rows, n, columns, dtype in (
        (3, 7, 5, torch.float32),
        (1, 300, 4, torch.uint8),
        (6, 1, 2, torch.int32),
        (2, 900, 3, torch.int64),
        (4, 60, 4, torch.int8),
        (2, 70_001, 1, torch.float32),
        (1, 66_001, 2, torch.uint8),
        (1, 80_003, 1, torch.int32),
    ):
        low, high = (-128, 128) if dtype == torch.int8 else (0, 256) if n < 1000 else (200, 256)
        a_q = torch.randint(low, high, (n, rows), generator=g).to(dtype).T
        b_q = torch.randint(low, high, (n, columns), generator=g).to(dtype)
        a_zero, b_zero = (int(z) for z in torch.randint(max(low + 1, -127), high, (2,), generator=g))
        if n > 1000:  # odd sums, which float32 cannot hold
            a_q[0], b_q[0] = (1 - a_q[1:].long().sum(0)) % 2 + 200, (1 - b_q[1:].long().sum(0)) % 2 + 200
            a_zero, b_zero = a_zero | 1, b_zero | 1
        exact_a, exact_b = a_q.long(), b_q.long()
        try_four_terms(
            f"shapes ({rows}, {n}) and ({n}, {columns}), {dtype}, zero points {a_zero} and {b_zero}",
            *(a_q, a_zero, b_q, b_zero),
            (exact_a.unsqueeze(2) * exact_b.unsqueeze(0)).sum(1),
            a_zero * exact_b.sum(0).unsqueeze(0),
            b_zero * exact_a.sum(1).unsqueeze(1),
            n * a_zero * b_zero,
        )
    ### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 2: a quantized matrix product
#
# Now put the terms together. The result is two things: the accumulators, and the real number that one step of them is
# worth. In the example, with $\Delta_A = 0.5$ and $\Delta_B = 0.1$, the accumulator $-9$ stands for $-9 \cdot 0.05 =
# -0.45$. Write it with four terms, as hardware does.
#
# **How large do accumulators get?** Two codes of 8 bits have a product of up to $255^2 = 65025$. A sum of $N$ of them
# passes $2^{24}$, where `float32` loses its last digit, as soon as $N > 258$. It passes $2^{31}$, the end
# of `int32`, when $N > 33025$. The checks try both. Your accumulators must be exact, so compute in `int64`.


# %% nbgrader={"grade_id": "quantized_matmul", "solution": true}
def quantized_matmul(a_q, a_scale, a_zero, b_q, b_scale, b_zero):
    """The product of two matrices of codes, in whole numbers.

    Args:
        a_q: codes of A, shape (rows, N), at least one row, N = 0 included; float32, uint8, int8, int32 or int64. Not
            changed.
        a_scale, a_zero: scale factor and zero point of A, a float and a whole number, which need not fit into the
            codes' dtype.
        b_q: codes of B, shape (N, columns), at least one column; of one of these dtypes, A's or another one. Not
            changed.
        b_scale, b_zero: scale factor and zero point of B, as those of A.

    Returns:
        A tuple (acc, scale): acc is an int64 tensor (rows, columns), exact (nothing on the way passes 2^53); scale is a
        Python float, a_scale * b_scale, unrounded. So scale * acc is the product of the real matrices that the codes
        stand for.
    """
    ### BEGIN SOLUTION
    a, b = a_q.to(torch.int64), b_q.to(torch.int64)
    acc = a @ b
    acc = acc - a_zero * b.sum(dim=0, keepdim=True) - b_zero * a.sum(dim=1, keepdim=True)
    acc = acc + a.shape[1] * a_zero * b_zero
    return acc, a_scale * b_scale
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_quantized_matmul", "grade": true, "points": 3}
with check("quantized_matmul"):

    def try_matmul(facts, a_q, a_scale, a_zero, b_q, b_scale, b_zero, expected):
        """One case against its accumulators; then the codes must be what they were."""
        before = state_of(a_q, b_q)
        result = quantized_matmul(a_q, a_scale, a_zero, b_q, b_scale, b_zero)
        rule, hint = "the result is a tuple (acc, scale)", "the sums, and what one step of them is worth: two results"
        expect(isinstance(result, tuple) and len(result) == 2, rule, given=facts, got=result, hint=hint)
        acc, scale = result
        hint = "when do you convert the codes, and does a scale factor come into the sums?"
        expect_type(acc, torch.int64, "acc is an int64 tensor", given=facts, hint=hint)
        expect_equal(
            acc,
            expected,
            "acc is the sum over k of (a_q - a_zero) * (b_q - b_zero)",
            given=facts,
            hint="each zero point goes with the sums of the other matrix; which of the four terms have a minus?",
        )
        hint = "both scale factors are Python floats: no tensor is needed"
        expect_type(scale, float, "scale is a Python float", given=facts, hint=hint)
        expect_close(
            scale,
            a_scale * b_scale,
            "scale is a_scale * b_scale",
            within=a_scale * b_scale * 2**-50,
            given=f"{a_scale} and {b_scale}",
            hint="what is one accumulator step worth, if a step of A and a step of B are known?",
        )
        rule, hint = "the codes themselves are not changed", "-= and methods that end in _ write into their tensor"
        expect_unchanged(before, state_of(a_q, b_q), rule, hint=hint)

    a_q = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    b_q = torch.tensor([[10.0, 0.0], [7.0, 4.0], [1.0, 9.0]])
    try_matmul("the example above, zero points 2 and 5", a_q, 0.5, 2, b_q, 0.1, 5, [[-9, 9], [0, 3]])
    try_matmul("the same codes, zero points 0 and 5", a_q, 0.25, 0, b_q, 0.7, 5, [[-3, 5], [6, -1]])
    try_matmul("the same codes, zero points 2 and 0", a_q, 3.0, 2, b_q, 0.3, 0, [[-9, 9], [45, 48]])
    try_matmul("other codes of the same shapes", a_q + 1, 0.00123, 2, b_q * 2, 0.0456, 5, [[3, 29], [66, 62]])
    a_q, b_q = torch.tensor([[200], [100]]), torch.tensor([[7, 250]])
    try_matmul("N = 1, int64 codes", a_q, 0.1, 255, b_q, 0.2, 1, [[-330, -13695], [-930, -38595]])
    for a_scale, b_scale in ((3e-30, 7e-12), (1e-200, 3e-180), (1e200, 0.3), (1e-9, 1.1e-9), (12345.678901, 1.0)):
        facts = f"the same codes, scale factors {a_scale} and {b_scale}"
        try_matmul(facts, a_q, a_scale, 255, b_q, b_scale, 1, [[-330, -13695], [-930, -38595]])
    rule, hint = "each call goes by its arguments as they are then", "what is kept, or handed out, and changes later?"
    for dtype in (torch.float32, torch.uint8, torch.int8, torch.int32, torch.int64):
        a_q, b_q = torch.tensor([[1, 2]], dtype=dtype), torch.tensor([[3], [4]], dtype=dtype)
        sets = (a_q, 0.5, 1, b_q, 0.25, 2), (a_q + 3, 0.5, 1, b_q, 0.25, 2), (a_q, 0.75, 0, b_q + 1, 2.0, 0)
        expected = [(torch.tensor([[2]]), 0.125), (torch.tensor([[11]]), 0.125), (torch.tensor([[14]]), 1.5)]
        for results in reused(quantized_matmul, sets):
            facts = f"the same two {dtype} tensors, with other codes in them at the next call"
            expect_equal(results, expected, rule, given=facts, hint=hint)
    ### BEGIN HIDDEN TESTS
    g = generator()
    for rows, n, columns in ((3, 7, 5), (1, 50, 4), (6, 1, 2), (5, 200, 1)):
        a_q = torch.randint(0, 256, (rows, n), generator=g).float()
        b_q = torch.randint(0, 256, (columns, n), generator=g).float().T
        a_zero, b_zero = (int(z) for z in torch.randint(1, 256, (2,), generator=g))
        a_scale, b_scale = (float(s) for s in torch.rand(2, generator=g, dtype=torch.float64) + 0.01)
        for za, zb in ((a_zero, b_zero), (0, b_zero), (a_zero, 0), (0, 0), (255, 255)):
            try_matmul(
                f"shapes ({rows}, {n}) and ({n}, {columns}), zero points {za} and {zb}",
                *(a_q, a_scale, za, b_q, b_scale, zb),
                ((a_q.long() - za).unsqueeze(2) * (b_q.long() - zb).unsqueeze(0)).sum(1),
            )
    ### END HIDDEN TESTS

# %% [markdown]
# The second check makes the sums long, and stores the codes in small types.

# %% nbgrader={"grade_id": "check_quantized_matmul_edges", "grade": true, "points": 2}
with check("quantized_matmul"):

    def try_sums(rule, facts, a_q, a_zero, b_q, b_zero, expected):
        """One case against its accumulators and their scale; then the codes must be what they were."""
        before = state_of(a_q, b_q)
        hint = "convert before any arithmetic: uint8 wraps around, float32 has gaps above 2^24, int32 ends at 2^31"
        acc, scale = expect_returns(
            lambda: quantized_matmul(a_q, 0.5, a_zero, b_q, 0.25, b_zero), rule, given=facts, hint=hint
        )
        expect_equal(acc, expected, rule, given=facts, hint=hint)
        hint = "does every way out of your function give a converted acc, and the same scale?"
        expect_type(acc, torch.int64, "acc is an int64 tensor, for every input", given=facts, hint=hint)
        expect_equal(scale, 0.125, "scale is a_scale * b_scale, for every input", given=facts, hint=hint)
        unchanged, hint = (
            "the codes are not changed, for every input",
            "is there a conversion that makes no new tensor?",
        )
        expect_unchanged(before, state_of(a_q, b_q), unchanged, hint=hint)

    def sums(a_q, a_zero, b_q, b_zero):
        """The accumulators, in float64: exact, for none passes 2^53."""
        return ((a_q.double() - a_zero) @ (b_q.double() - b_zero)).long()

    float32, int32 = (
        "acc is exact above 2^24, where float32 has gaps",
        "acc is exact above 2^31, where int32 wraps around",
    )
    for n, rule in ((259, float32), (70_001, int32)):  # odd, so that float32 cannot hold 255 * 255 * n
        codes = torch.full((1, n), 255.0)
        for a_zero, b_zero, sign in ((0, 0, 1), (510, 0, -1), (0, 510, -1), (510, 510, 1)):
            facts = f"{n} products of 255 and 255, zero points {a_zero} and {b_zero}"
            try_sums(rule, facts, codes, a_zero, codes.T, b_zero, [[sign * n * 255**2]])
    # row and column sums pass 2^24, and so do the terms; the accumulator is small
    codes = torch.full((1, 70_001), 255.0)
    try_sums(float32, "70001 products of 255 and 255, zero points 254 and 256", codes, 254, codes.T, 256, [[-70_001]])
    dtypes = "codes of every dtype give the same accumulators"
    a_q, b_q = torch.tensor([[100, 120]]), torch.tensor([[90], [127]])
    for dtype in (torch.float32, torch.uint8, torch.int8, torch.int32, torch.int64):
        try_sums(
            dtypes,
            f"{dtype}: 100, 120 and 90, 127; zero points 103 and -200",
            a_q.to(dtype),
            103,
            b_q.to(dtype),
            -200,
            [[4689]],
        )
    for dtype in (torch.int32, torch.int64):
        a_q, b_q = torch.tensor([[40_001, 3]], dtype=dtype), torch.tensor([[70_001], [-5]], dtype=dtype)
        facts = f"{dtype}: 40001, 3 and 70001, -5; zero points -100000 and 2"
        try_sums(dtypes, facts, a_q, -100_000, b_q, 2, [[9_799_229_978]])
    codes = torch.tensor([[-128, 5], [127, -1]], dtype=torch.int8)
    facts = "negative int8 codes, B is A transposed (a view), zero points -128 and 127"
    try_sums(dtypes, facts, codes, -128, codes.T, 127, [[-16226, -17024], [-80519, -16256]])
    empty = torch.zeros(2, 0), torch.zeros(0, 3)
    try_sums("a sum of no products is 0", "shapes (2, 0) and (0, 3)", empty[0], 3, empty[1], 5, torch.zeros(2, 3))
    shapes = (
        (3, 7, 2),
        (1, 1, 1),
        (4, 1, 3),
        (3, 5, 1),
        (2, 0, 3),
        (4, 4, 4),
        (1031, 2, 1),
        (1, 3, 1031),
        (1, 35_001, 2),
    )
    for facts, a_q, a_zero, b_q, b_zero in matrices_of_codes(shapes, generator()):
        try_sums(dtypes, facts, a_q, a_zero, b_q, b_zero, sums(a_q, a_zero, b_q, b_zero))
    ### BEGIN HIDDEN TESTS
    g = generator()
    for n in (301, 1003, 4001):
        a_q = torch.randint(200, 256, (8, n), generator=g).float()
        b_q = torch.randint(200, 256, (n, 8), generator=g).float()
        for za, zb in ((0, 0), (7, 0), (0, 11), (1, 2)):
            facts = f"sums of {n} products, zero points {za} and {zb}"
            try_sums(float32, facts, a_q, za, b_q, zb, sums(a_q, za, b_q, zb))
    for low in (200, 240):
        a_q = torch.randint(low, 256, (1, 60_001), generator=g).float()
        b_q = torch.randint(low, 256, (60_001, 2), generator=g).float()
        a_q[:, 0], b_q[0] = 201 - a_q[:, 1:].long().sum(1) % 2, 201 - b_q[1:].long().sum(0) % 2  # odd sums
        for za, zb in ((0, 0), (255, 0), (0, 255), (251, 253)):
            facts = f"sums of 60001 products, zero points {za} and {zb}"
            try_sums(int32, facts, a_q, za, b_q, zb, sums(a_q, za, b_q, zb))
    for dtype, low, high in (
        (torch.float32, 0, 256),
        (torch.uint8, 0, 256),
        (torch.int8, -128, 128),
        (torch.int32, 0, 256),
        (torch.int64, 0, 256),
    ):
        a_q = torch.randint(low, high, (30, 4), generator=g).to(dtype).T
        b_q = torch.randint(low, high, (30, 3), generator=g).to(dtype)
        for za, zb in ((100, 90), (0, 127), (low, high - 1)):
            try_sums(dtypes, f"{dtype}, zero points {za}, {zb}", a_q, za, b_q, zb, sums(a_q, za, b_q, zb))
    ### END HIDDEN TESTS

# %% [markdown]
# ## Explore: the four terms, and what float32 does to them
#
# Your four terms for a random product. The first four squares share one colour scale; the accumulators have one of the
# same width, around 0. See the stripes, and that the accumulators are small differences of large numbers.

# %% tags=["explore"]
maker = torch.Generator().manual_seed(1)
a_q, a_scale, a_zero = quantize_tensor(torch.randn(8, 64, generator=maker))
b_q, b_scale, b_zero = quantize_tensor(torch.randn(64, 8, generator=maker))
products, column_term, row_term, constant = four_terms(a_q, a_zero, b_q, b_zero)
acc, scale = quantized_matmul(a_q, a_scale, a_zero, b_q, b_scale, b_zero)

parts = {
    "products": products,
    "− column term": column_term.expand(8, 8),
    "− row term": row_term.expand(8, 8),
    "+ constant": torch.full((8, 8), constant),
    "= accumulator": acc,
}
terms = list(parts.values())[:4]
low, high = min(int(t.min()) for t in terms), max(int(t.max()) for t in terms)
half = (high - low) / 2
figure, all_axes = plt.subplots(1, 5, figsize=(10, 2.6))
for axes, (name, part) in zip(all_axes, parts.items(), strict=True):
    bounds = (-half, half) if axes is all_axes[-1] else (low, high)
    image = axes.imshow(part, cmap="cividis", vmin=bounds[0], vmax=bounds[1])
    span = f"{int(part.min())} to {int(part.max())}" if name != "+ constant" else f"{constant} everywhere"
    axes.set_title(f"{name}\n{span}", fontsize=9)
    axes.set_xlabel("column j")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    if axes in all_axes[-2:]:
        figure.colorbar(image, ax=axes, label="accumulator steps", fraction=0.05, pad=0.03)
all_axes[0].set_ylabel("row i")
plt.show()
print(f"largest term {high}, largest accumulator {int(acc.abs().max())}, one accumulator step is worth {scale:.3g}")

# %% [markdown]
# The second picture multiplies codes in `float32`, as one is tempted to, in two ways: adding one product after the
# other, and by torch's matrix product. It shows how far both are from your exact result. All codes and all $N$ are
# odd, so the sums are odd, and above $2^{24}$ `float32` holds even numbers only. Which of the two does better, and why?

# %% tags=["explore"]
lengths = list(range(11, 1400, 24))  # odd
in_order, at_once = [], []
for n in lengths:
    a = torch.randint(100, 128, (16, n), generator=maker).float() * 2 + 1
    b = torch.randint(100, 128, (n, 16), generator=maker).float() * 2 + 1
    exact = quantized_matmul(a, 1.0, 0, b, 1.0, 0)[0].double()
    sums = torch.zeros(16, 16)
    for k in range(n):
        sums = sums + a[:, k : k + 1] * b[k : k + 1]
    in_order.append(float((sums - exact).abs().max()))
    at_once.append(float((a @ b - exact).abs().max()))
figure, axes = plt.subplots(figsize=(7.5, 3))
axes.plot(
    lengths, in_order, "s-", color=COLOURS["blue"], markersize=3, linewidth=1, label="one product after the other"
)
axes.plot(
    lengths, at_once, "o-", color=COLOURS["vermillion"], markersize=3, linewidth=1, label="torch's a @ b, this machine"
)
axes.axvline(
    2**24 / 255**2, color=COLOURS["black"], linestyle=":", label="more than 258 products of 255²: above $2^{24}$"
)
axes.set_xlabel("N, number of products in a sum (odd)")
axes.set_ylabel("largest error of float32\n(accumulator steps)")
axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()
print(f"first error at N = {next(n for n, e in zip(lengths, in_order, strict=True) if e)}")
print(f"products of 228 and 228 pass 2^24 at N = {2**24 / 228**2:.0f}")

# %% [markdown]
# The error is far below one step of an 8-bit output, so nobody notices it in an accuracy. But a layer that is tested
# bit by bit against a chip fails.
#
# <details><summary>Answer</summary>
#
# `a @ b` does better. A fast matrix product keeps several sums at a time, each of some of the products, and adds them
# up at the end; while these are below $2^{24}$ nothing is lost. How many there are, and for which $N$ they come out
# evenly, depends on the processor and the library: so this curve may climb in steps or be a saw, and is another one on
# another machine. The other curve is the same everywhere.
#
# The dotted line is the worst case, products of the largest codes. The codes here lie between 201 and 255, in the
# middle 228, so the sums pass $2^{24}$ somewhat later, and there the first error is.
#
# </details>

# %% [markdown]
# ## Exercise 3: a real factor as a whole number and a shift
#
# $M = \Delta_A \Delta_B / \Delta_C$ is a real number, often around 0.01 and smaller. A chip without floating point
# writes it as
#
# $$ M \approx \frac{\text{multiplier}}{2^{\text{shift}}}, \qquad 2^{30} \le \text{multiplier} \le 2^{31} - 1 . $$
#
# The multiplier is as large as 31 bits allow, because then it holds $M$ with the smallest relative error, at most
# $2^{-31}$. Two steps find both numbers:
#
# 1. Write $m = f \cdot 2^{e}$ with $\tfrac12 \le f < 1$. `math.frexp(m)` returns exactly these two, $f$ and $e$.
# 2. Then $f \cdot 2^{31}$ lies in the wanted range. Round it: that is the multiplier, and shift $= 31 - e$.
#
# By hand: $0.3 = 0.6 \cdot 2^{-1}$, so multiplier $= \operatorname{round}(0.6 \cdot 2^{31}) = 1288490189$ and shift
# $= 32$. And $3 = 0.75 \cdot 2^2$ gives $1610612736$ and shift $29$.
#
# Four corners, each of which has bitten somebody:
#
# - **Rounding up to $2^{31}$.** For $m = 1 - 2^{-40}$, $f \cdot 2^{31}$ rounds to $2^{31}$, which has 32 bits. Then
#   take half of it, $2^{30}$, and a shift that is one less.
# - **$m \ge 1$.** A layer whose output range is very narrow has such a factor. The formula does not mind: the shift
#   just gets smaller than 31.
# - **Very small $m$.** We stop at shift 62 (exercise 4 shows why) and let the multiplier lose bits instead: it is
#   then $\operatorname{round}(m \cdot 2^{62})$, below $2^{30}$, perhaps 0. That begins below $m = 2^{-32}$, where
#   $M$ times a 32-bit accumulator is less than half a step anyway.
# - **No positive number**, or one of $2^{31}$ and more, or one that rounds to $2^{31}$ with shift 0: it would need a
#   shift below 0. That is a `ValueError`.


# %% nbgrader={"grade_id": "fixed_point_multiplier", "solution": true}
def fixed_point_multiplier(m):
    """A positive real number as multiplier / 2^shift.

    Args:
        m: Python float.

    Returns:
        A tuple (multiplier, shift) of Python ints: multiplier is the whole number nearest to m * 2^shift (of two
        equally near ones either), from 2^30 to 2^31 - 1; shift is from 0 to 62. For m below 2^-32 shift is 62, and
        multiplier may be less than 2^30.

    Raises:
        ValueError: if m is not positive and finite, or so large that shift would be negative (2^31 and more, and what
            rounds to 2^31).
    """
    ### BEGIN SOLUTION
    if not (math.isfinite(m) and m > 0):
        raise ValueError(f"m must be positive and finite, not {m}")
    _, exponent = math.frexp(m)
    shift = min(31 - exponent, 62)
    multiplier = round(math.ldexp(m, shift))  # m * 2^shift, exactly, then rounded
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift - 1
    if shift < 0:
        raise ValueError(f"m must be below 2^31, not {m}")
    return multiplier, shift
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_fixed_point_multiplier", "grade": true, "points": 3}
with check("fixed_point_multiplier"):
    from fractions import Fraction

    nearest = "multiplier is the whole number nearest to m * 2^shift, from 2^30 to 2^31 - 1"
    large = "an m of 1 and more gets a shift below 31"
    carry = "a multiplier that rounds up to 2^31 becomes 2^30, with a shift one less"
    hints = {
        nearest: "how far must m be doubled or halved to lie between 2^30 and 2^31? And then: nearest, not up or down",
        large: "the shift follows from the exponent of m, whatever its sign; the smallest shift is 0",
        carry: "31 bits hold at most 2^31 - 1: look at the multiplier after rounding, and keep the value the same",
    }

    def pair_of(m, rule, facts):
        """The pair for an m: two whole numbers."""
        result = expect_returns(lambda: fixed_point_multiplier(m), rule, given=facts, hint=hints[rule])
        expect(
            isinstance(result, tuple) and len(result) == 2 and all(isinstance(r, numbers.Integral) for r in result),
            "the result is a tuple of two ints (multiplier, shift)",
            given=facts,
            got=None if result is None else repr(result),
            hint="which of your steps gives a float?",
        )
        return result

    for m, rule, multiplier, shift in (
        (0.3, nearest, 1288490189, 32),
        (0.2, nearest, 1717986918, 33),
        (0.000123, nearest, 1081919442, 43),
        (1 - 2.0**-31, nearest, 2**31 - 1, 31),
        (0.5, nearest, 2**30, 31),
        (2.0**-32, nearest, 2**30, 62),
        (0.75 * 2.0**-30, nearest, 1610612736, 61),
        (1.0, large, 2**30, 30),
        (3.0, large, 1610612736, 29),
        (1234567.89, large, 1264197519, 10),
        (2.0**31 - 1, large, 2**31 - 1, 0),
        (2.0**31 - 0.75, large, 2**31 - 1, 0),
        (1 - 2.0**-40, carry, 2**30, 30),
        (4 - 2.0**-40, carry, 2**30, 28),
        (2.0**30 * (1 - 2.0**-33), carry, 2**30, 0),
    ):
        facts = f"m = {m!r}, the pair is ({multiplier}, {shift})"
        expect_equal(list(pair_of(m, rule, facts)), [multiplier, shift], rule, given=facts, hint=hints[rule])

    def expect_nearest(m):
        """The pair is within its bounds, and nearest to m, in rational numbers, of which none is rounded."""
        rule, facts = large if m >= 1 else nearest, f"m = {m!r}"
        multiplier, shift = pair_of(m, rule, facts)
        inside = 2**30 <= multiplier <= 2**31 - 1 and 0 <= shift <= 62
        expect(
            inside and abs(multiplier - Fraction(m) * 2**shift) <= Fraction(1, 2),
            rule,
            given=facts,
            expected=f"from 2^30 to 2^31 - 1 and, for a shift from 0 to 62, within 1/2 of {m!r} * 2^shift",
            got=(multiplier, shift),
            hint=hints[rule],
        )

    g = generator()
    for exponent in range(-32, 31):
        power, whole = 2.0**exponent, int(torch.randint(2**30, 2**31, (), generator=g))
        expect_nearest(power)
        expect_nearest(math.nextafter(power, math.inf))
        for part in (0.25, 0.5 - 2.0**-20, 0.5 + 2.0**-20, 0.75):  # beside a half, where one rounding only is right
            expect_nearest((whole + part) * 2.0 ** (exponent - 30))
        if exponent > -32:
            for below in (math.nextafter(power, 0.0), power * (1 - 2.0**-33)):
                facts = f"m = {below!r}, just below 2^{exponent}"
                expect_equal(
                    list(pair_of(below, carry, facts)), [2**30, 30 - exponent], carry, given=facts, hint=hints[carry]
                )
    ### BEGIN HIDDEN TESTS
    for m in (torch.rand(30, generator=g, dtype=torch.float64) * 0.999 + 1).tolist():
        expect_nearest(m * 2.0 ** int(torch.randint(-31, 30, (), generator=g)))
    for exponent in (-31, -20, -7, 0, 5, 30):
        m = 2.0**exponent * (1 - 2.0**-34)
        facts = f"m = 2^{exponent} * (1 - 2^-34)"
        expect_equal(list(pair_of(m, carry, facts)), [2**30, 30 - exponent], carry, given=facts, hint=hints[carry])
    ### END HIDDEN TESTS

# %% nbgrader={"grade_id": "check_fixed_point_multiplier_edges", "grade": true, "points": 2}
with check("fixed_point_multiplier"):

    def expect_refused(m, rule, hint):
        """A ValueError for this m."""
        expect_raises(ValueError, lambda: fixed_point_multiplier(m), rule, given=f"m = {m!r}", hint=hint)

    def expect_small(m, multiplier):
        """Shift 62, and this multiplier or, in the middle between two, one of these."""
        rule = "an m below 2^-32 has shift 62 and the whole number nearest to m * 2^62"
        hint = "bound the shift first; then round m * 2^62 itself, once, to nearest"
        facts = f"m = {m!r}, so m * 2^62 = {m * 2.0**62!r}"
        result = expect_returns(lambda: fixed_point_multiplier(m), rule, given=facts, hint=hint)
        expect(
            result in [(n, 62) for n in multiplier],
            rule,
            given=facts,
            expected=" or ".join(f"({n}, 62)" for n in multiplier),
            got=result,
            hint=hint,
        )

    bad = "an m that is not positive and finite is refused with a ValueError"
    for m in (0.0, -0.0, -0.3, -5e-324, -1e300, -(2.0**31), math.nan, math.inf, -math.inf):
        expect_refused(m, bad, "which m have a logarithm? Ask that before you compute anything")
    for m, multiplier in (
        (math.nextafter(2.0**-32, 0.0), [2**30]),
        (2.0**-32 * (1 - 2.0**-31), [2**30 - 1, 2**30]),
        (2.0**-32 * (1 - 2.0**-30), [2**30 - 1]),
        (2.0**-33, [2**29]),
        (math.nextafter(2.0**-33, 0.0), [2**29]),
        (2.0**-40, [2**22]),
        (3.7 * 2.0**-62, [4]),
        (3.2 * 2.0**-62, [3]),
        ((2.5 + 2.0**-40) * 2.0**-62, [3]),
        ((3.5 - 2.0**-40) * 2.0**-62, [3]),
        (0.4 * 2.0**-62, [0]),
        ((0.5 - 2.0**-54) * 2.0**-62, [0]),
        (0.6 * 2.0**-62, [1]),
        (math.nextafter(2.0**-63, 1.0), [1]),
        (math.nextafter(2.0**-63, 0.0), [0]),
        (1e-300, [0]),
        (5e-324, [0]),
    ):
        expect_small(m, multiplier)
    huge = "an m of 2^31 and more is refused with a ValueError, and one that rounds to 2^31"
    for m in (2.0**31, math.nextafter(2.0**31, 0.0), 2.0**31 - 0.5 + 2.0**-20, 2.0**32, 1e12, 1e300):
        expect_refused(m, huge, "look at the shift at the very end, after rounding: may it be negative?")
    rule, facts = "an m that rounds to less than 2^31 is not refused", "m = 2^31 - 1/2 - 2^-20"
    last = expect_returns(
        lambda: fixed_point_multiplier(2.0**31 - 0.5 - 2.0**-20), rule, given=facts, hint="is 2^31 - 1 a multiplier?"
    )
    expect_equal(last, (2**31 - 1, 0), rule, given=facts, hint="when do you ask for the shift: after rounding?")
    g = generator()
    for shift in range(33, 63):  # from half of 2^-32 down to where one bit is left, beside halves, too
        whole = int(torch.randint(2 ** (62 - shift), 2 ** (63 - shift), (), generator=g))
        for part, multiplier in ((0.0, whole), (0.5 - 2.0**-20, whole), (0.5 + 2.0**-20, whole + 1)):
            expect_small((whole + part) * 2.0**-62, [multiplier])
    ### BEGIN HIDDEN TESTS
    for m in (-1e-300, -1e300):
        expect_refused(m, bad, "is it a number above 0?")
    for m in (2.0 ** -torch.randint(33, 64, (40,), generator=g).double()).tolist():
        m = m * 1.0007
        expect_small(m, [round(m * 2.0**62)])
    for whole in torch.randint(1, 2**20, (20,), generator=g).tolist():
        expect_small((whole + 0.5 - 2.0**-30) * 2.0**-62, [whole])
        expect_small((whole + 0.5 + 2.0**-30) * 2.0**-62, [whole + 1])
        expect_small((whole + 0.5) * 2.0**-62, [whole, whole + 1])
    expect_small(2.0**-80, [0])
    for m in (2.0**31 - 0.25, 2.0**32, 2.0**40 + 1):
        expect_refused(m, huge, "look at the shift at the very end, after rounding: may it be negative?")
    ### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 4: multiply, shift, round
#
# Now apply the factor to an accumulator, with whole numbers only:
#
# $$
# \text{result} = \operatorname{round}\!\left( \frac{acc \cdot \text{multiplier}}{2^{\text{shift}}} \right)
# $$
#
# Dividing by $2^s$ is a shift: `p >> s` drops the last $s$ bits. What does dropping do to a number? It rounds
# **down**, towards $-\infty$: `7 >> 1` is 3, and `-7 >> 1` is $-4$, not $-3$. The thesis calls this *truncating
# division* (its flag `rounding_div` set to `False`). It is cheap, and wrong by half a step on average, always in the
# same direction.
#
# *Rounding division* costs one addition. Add half of the divisor before you shift:
#
# $$ \left\lfloor \frac{p}{2^s} + \frac12 \right\rfloor \;=\; (p + 2^{s-1}) \gg s . $$
#
# That rounds to nearest, and what lies exactly halfway goes **up**, below 0 too: $2.5 \to 3$ and $-2.5 \to -2$. (Others
# send $-2.5$ to $-3$.) With $s = 0$ nothing is dropped, and there is no half to add.
#
# By hand, $m = 0.3$, so $(1288490189, 32)$: $acc = 7$ gives $2.1$, rounded 2, dropped 2. $acc = -7$ gives $-2.1$,
# rounded $-2$, dropped $-3$. With $m = 0.5$, $acc = -5$ gives $-2.5$, rounded $-2$, dropped $-3$.
#
# `int64` is wide enough for all this, `float64` with its 53 bits is not. An `int32` tensor must be converted *before*
# the product.
#
# <details><summary>For the curious: why shifts stop at 62</summary>
#
# $|acc| \le 2^{31}$ times a multiplier below $2^{31}$ stays below $2^{62}$; half of the largest divisor adds $2^{61}$.
# The sum fits into 63 bits and a sign.
#
# </details>


# %% nbgrader={"grade_id": "requantize", "solution": true}
def requantize(acc, multiplier, shift, rounding=True):
    """acc * multiplier / 2^shift in whole numbers.

    Args:
        acc: int32 or int64 tensor of any shape, values from -2^31 to 2^31 - 1. Not changed.
        multiplier: int from 0 to 2^31 - 1.
        shift: int from 0 to 62. With 0 the result is acc * multiplier.
        rounding: True rounds to nearest, halves up (towards plus infinity); False rounds down.

    Returns:
        int64 tensor of acc's shape, exact.
    """
    ### BEGIN SOLUTION
    product = acc.to(torch.int64) * multiplier
    if rounding and shift > 0:
        product = product + 2 ** (shift - 1)
    return product >> shift
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_requantize", "grade": true, "points": 4}
with check("requantize"):
    from fractions import Fraction

    nearest = "the result is acc * multiplier / 2^shift, rounded to nearest"
    halves = "what lies halfway between two whole numbers is rounded up"
    down = "with rounding=False the result is rounded down"
    hints = {
        nearest: "what must be added before the shift, so that dropping bits rounds to nearest? One rounding is enough",
        halves: "up means towards plus infinity, below 0 too",
        down: "which division cuts towards 0, and which one goes down?",
    }

    def try_requantize(rule, facts, acc, multiplier, shift, expected, **rounding):
        """One case against its result; then acc must be what it was."""
        before = state_of(acc)
        result = expect_returns(
            lambda: requantize(acc, multiplier, shift, **rounding), rule, given=facts, hint=hints[rule]
        )
        hint = "is there a real number or a smaller type on the way?"
        expect_type(result, torch.int64, "the result is an int64 tensor", given=facts, hint=hint)
        expect_equal(result, expected, rule, given=facts, hint=hints[rule])
        hint = "which of *, *=, += and >>= make a new tensor?"
        expect_unchanged(before, state_of(acc), "acc itself is not changed", hint=hint)

    m = 1288490189, 32
    try_requantize(
        nearest, "m = 0.3, acc 7, -7, 0, ...", torch.tensor([7, -7, 0, 1000, -1000]), *m, [2, -2, 0, 300, -300]
    )
    acc = torch.tensor([[7, -7], [9, -9], [1, -1]], dtype=torch.int32)
    try_requantize(nearest, "m = 0.3, an int32 acc, transposed", acc.T, *m, [[2, 3, 0], [-2, -3, 0]])
    for rounding in ({}, {"rounding": True}):
        acc = torch.tensor([5, 3, 1, -1, -3, -5])
        try_requantize(
            halves, f"m = 0.5, acc 5, 3, 1, -1, -3, -5, {rounding}", acc, 2**30, 31, [3, 2, 1, 0, -1, -2], **rounding
        )
    acc = torch.tensor([6, 2, -2, -6, -10])
    try_requantize(halves, "m = 0.25, acc 6, 2, -2, -6, -10", acc, 2**30, 32, [2, 1, 0, -1, -2])
    acc = torch.tensor([7, -7, 5, -5, 6, -6, -1])
    try_requantize(
        down, "m = 0.5, acc 7, -7, 5, -5, 6, -6, -1", acc, 2**30, 31, [3, -4, 2, -3, 3, -3, -1], rounding=False
    )
    # 6 * 0.24 = 1.44, rounded 1; rounded to halves first it is 1.5, and then 2
    acc = torch.tensor([6, -6, 100, -100])
    try_requantize(nearest, "m = 0.24, acc 6, -6, 100, -100", acc, 2061584302, 33, [1, -1, 24, -24])

    def try_drawn(acc, multiplier, shift):
        """One case against the rule itself, in rational numbers: rounded, and rounded down."""
        whole = [Fraction(a * multiplier, 2**shift) for a in acc.flatten().tolist()]
        facts = f"{acc.dtype} acc {acc.tolist()}, multiplier {multiplier}, shift {shift}"
        for rule, rounding in ((nearest, True), (down, False)):
            expected = [math.floor(w + Fraction(1, 2) if rounding else w) for w in whole]
            expected = torch.tensor(expected, dtype=torch.int64).reshape(acc.shape)
            try_requantize(rule, facts, acc, multiplier, shift, expected, rounding=rounding)

    g = generator()
    for shift in range(63):
        multiplier = int(torch.randint(2**30, 2**31, (), generator=g)) | 1
        ends = torch.tensor([-(2**31), 2**31 - 1, 1 - 2**31, 0, 1, -1])
        try_drawn(ends.int() if shift % 2 else ends, (multiplier, 2**31 - 1, 2**30, 1, 0, 77)[shift % 6], shift)
        # products that end just below a half, at it, above it, and the same around a whole number
        half, inverse = 2**shift // 2, pow(multiplier, -1, 2**shift)
        near = [(last * inverse + half) % 2**shift - half for last in (half - 1, half, half + 1, 1, -1)]
        near = [n for n in near if abs(n) < 2**31] + torch.randint(-(2**23), 2**23, (2,), generator=g).tolist()
        try_drawn(torch.tensor(near, dtype=torch.int64 if shift % 2 else torch.int32), multiplier, shift)
    rule, hint = "each call goes by its arguments as they are then", "what is kept, or handed out, and changes later?"
    for dtype in (torch.int32, torch.int64):
        acc = torch.tensor([4, -6], dtype=dtype)
        sets = (acc, 1, 0, True), (acc + 2, 1, 0, False), (acc, 2**30, 31, True), (acc + 2, 2**30, 31, True)
        expected = [torch.tensor(pair) for pair in ((4, -6), (6, -4), (2, -3), (3, -2))]
        for results in reused(requantize, sets):
            facts = f"the same {dtype} tensor, with other accumulators in it at the next call"
            expect_equal(results, expected, rule, given=facts, hint=hint)
    ### BEGIN HIDDEN TESTS
    for shift in (31, 32, 35, 38, 40, 45):
        multiplier = int(torch.randint(2**30, 2**31, (), generator=g))
        reach = min(2**31, 2 ** (shift - 20))  # results of up to some thousands
        acc = torch.randint(-reach, reach, (4, 5), generator=g)
        for values in (acc, acc.int(), acc.T.contiguous().T):
            try_drawn(values, multiplier, shift)
    for power in (1, 2, 5, 12):
        acc = torch.arange(-40, 40) * 2**power + 2 ** (power - 1)  # all halves for m = 2^-power
        try_requantize(halves, f"m = 2^-{power}, halves only", acc, 2**30, 30 + power, torch.arange(-39, 41))
    ### END HIDDEN TESTS

# %% nbgrader={"grade_id": "check_requantize_edges", "grade": true, "points": 2}
with check("requantize"):
    exact = "the product is exact, all 62 bits of it"
    int32 = "int32 accumulators are converted before the product"
    zero = "with shift 0 the result is acc * multiplier"
    shape = "the result has acc's shape, whatever it is"
    hints = {
        exact: "float64 has 53 bits only; and a multiplication after the shift comes too late for the low bits",
        int32: "in which dtype is the product computed?",
        zero: "nothing is dropped then: is there a half to add?",
        shape: "is there a step that works for one dimension only?",
    }

    def try_case(rule, facts, acc, multiplier, shift, expected, **rounding):
        """One case against its result; then acc must be what it was."""
        before = state_of(acc)
        result = expect_returns(
            lambda: requantize(acc, multiplier, shift, **rounding), rule, given=facts, hint=hints[rule]
        )
        hint = "does every way out of your function give a converted tensor?"
        expect_type(result, torch.int64, "the result is an int64 tensor, for every input", given=facts, hint=hint)
        expect_equal(result, expected, rule, given=facts, hint=hints[rule])
        hint = "is there a conversion that makes no new tensor?"
        expect_unchanged(before, state_of(acc), "acc is not changed, for every input", hint=hint)

    acc = torch.tensor([100_000, -100_000], dtype=torch.int32)
    try_case(int32, "int32 acc 100000, -100000, multiplier 2^30, shift 35", acc, 2**30, 35, [3125, -3125])
    for acc, multiplier, shift, rounded, dropped in (
        (2_000_000_001, 2**31 - 1, 9, 8388608000288054, 8388608000288053),
        (2_147_483_375, 1_895_763_953, 40, 3702663, 3702663),  # 2^-40 below a half
        (2_120_185_131, 1_359_458_530, 60, 2, 2),  # 10 * 2^-60 below a half
        (2**31 - 1, 2**31 - 1, 62, 1, 0),
        (-(2**31), 2**31 - 1, 62, -1, -1),
        (-(2**31), 2**31 - 1, 1, -2305843008139952128, -2305843008139952128),
        (2**31 - 1, 2**30, 62, 0, 0),
        (1, 1, 1, 1, 0),
        (12345, 0, 40, 0, 0),
        (2**31 - 1, 0, 1, 0, 0),
        (12345, 2**20, 20, 12345, 12345),
    ):
        facts = f"acc {acc}, multiplier {multiplier}, shift {shift}"
        try_case(exact, facts, torch.tensor([acc]), multiplier, shift, [rounded])
        try_case(exact, f"{facts}, rounding=False", torch.tensor([acc]), multiplier, shift, [dropped], rounding=False)
        try_case(exact, f"int32 {facts}", torch.tensor([acc], dtype=torch.int32), multiplier, shift, [rounded])
    acc = torch.tensor([3, -3, 0, 2**31 - 1])
    for rounding in (True, False):
        facts = f"acc 3, -3, 0, 2^31 - 1, multiplier 5, shift 0, rounding={rounding}"
        try_case(zero, facts, acc, 5, 0, [15, -15, 0, 10737418235], rounding=rounding)
    for dims, expected in (((), 1), ((0, 3), []), ((2, 1, 3), [[[1, 1, 1]], [[1, 1, 1]]])):
        expected = torch.tensor(expected).reshape(dims)
        for dtype in (torch.int32, torch.int64):
            facts = f"shape {dims}, {dtype}, every acc 7, multiplier 2^30, shift 33"
            try_case(shape, facts, torch.full(dims, 7, dtype=dtype), 2**30, 33, expected)
    acc = torch.tensor([[20, -20, 12, -12], [3, -3, 2**31 - 1, -(2**31)], [4, -4, 0, 1]])
    for form, values in forms(acc, (torch.int32, torch.int64)):
        expected = torch.tensor([(a + 4) // 8 for a in values.flatten().tolist()], dtype=torch.int64)
        try_case(shape, f"{form}, multiplier 2^30, shift 33", values, 2**30, 33, expected.reshape(values.shape))
        facts = f"{form}, multiplier 3, shift 0"
        try_case(shape, facts, values, 3, 0, values.long() * 3)
    many = acc.flatten().repeat(5843)  # 70,116 of them
    expected = torch.tensor([(a + 4) // 8 for a in acc.flatten().tolist()]).repeat(5843)
    try_case(shape, "70116 accumulators, multiplier 2^30, shift 33", many, 2**30, 33, expected)
    ### BEGIN HIDDEN TESTS
    g = generator()
    for shift in (9, 12, 20, 30, 61, 62, 8, 2, 1, 0):
        for multiplier in (2**31 - 1, 2**30 + 1, int(torch.randint(2**30, 2**31, (), generator=g)), 3, 0):
            reach = min(2**31, 2 ** (shift + 22))
            acc = torch.randint(-reach, reach, (60,), generator=g)
            acc[:2] = torch.tensor([reach - 1, -reach])
            half = 2 ** (shift - 1) if shift else 0
            rounded = torch.tensor([(a * multiplier + half) >> shift for a in acc.tolist()])
            dropped = torch.tensor([(a * multiplier) >> shift for a in acc.tolist()])
            facts = f"60 accumulators from {-reach} to {reach - 1}, multiplier {multiplier}, shift {shift}"
            rule = exact if shift else zero
            try_case(rule, facts, acc, multiplier, shift, rounded)
            try_case(rule, facts, acc, multiplier, shift, dropped, rounding=False)
            try_case(int32, facts, acc.to(torch.int32), multiplier, shift, rounded)
    found = 0  # products that lie a last bit below a half, where float64 sees the half
    for acc in torch.randint(2**30, 2**31, (4000,), generator=g).tolist():
        shift = (34, 37, 40)[found % 3]
        multiplier = (2 ** (shift - 1) - 1) * pow(acc | 1, -1, 2**shift) % 2**shift
        if multiplier < 2**31:
            found, expected = found + 1, ((acc | 1) * multiplier) >> shift
            try_case(
                exact,
                f"acc {acc | 1}, multiplier {multiplier}, shift {shift}",
                torch.tensor([acc | 1]),
                multiplier,
                shift,
                [expected],
            )
    for acc, multiplier, shift, k in (
        (2_120_185_131, 1_903_241_942, 60, 3),
        (2_147_483_644, 1_610_612_739, 61, 1),
        (2_147_483_646, 1_073_741_825, 62, 0),
    ):
        try_case(
            exact, f"acc {acc}, multiplier {multiplier}, shift {shift}", torch.tensor([acc]), multiplier, shift, [k]
        )
    for dims in ((), (0, 3), (2, 3, 4, 5)):
        acc = torch.randint(-1000, 1000, dims, generator=g)
        try_case(shape, f"shape {dims}", acc, 2**30, 33, (acc + 4) >> 3)
    ### END HIDDEN TESTS

# %% [markdown]
# ## Explore: which way does it round?
#
# Left: your `requantize` for $m = 0.3$, with rounding and without. Right: the error of both over many accumulators,
# as a histogram. Rounding: between $-\tfrac12$ and $\tfrac12$, mean 0. Dropping bits: between $-1$ and 0, mean
# $-\tfrac12$. The mean is what hurts. Errors of changing sign cancel in the next layer's sums; a common offset adds
# up.

# %% tags=["explore"]
multiplier, shift = fixed_point_multiplier(0.3)
acc = torch.arange(-14, 15)
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4))
left.plot(acc, 0.3 * acc, color=COLOURS["black"], linestyle="--", linewidth=1, label="0.3 · acc")
left.plot(acc, requantize(acc, multiplier, shift), "o", color=COLOURS["blue"], label="rounded")
left.plot(
    acc, requantize(acc, multiplier, shift, rounding=False), "v", color=COLOURS["vermillion"], label="bits dropped"
)
left.set_xlabel("accumulator")
left.set_ylabel("result (output steps)")
left.legend()

many = torch.randint(-100_000, 100_000, (200_000,), generator=maker)
m = 0.0123
multiplier, shift = fixed_point_multiplier(m)
edges = np.linspace(-1.05, 0.55, 65)
for rounding, colour, name in ((True, "blue", "rounded"), (False, "vermillion", "bits dropped")):
    error = requantize(many, multiplier, shift, rounding).double() - m * many.double()
    right.hist(error, edges, color=COLOURS[colour], alpha=0.5, weights=np.full(len(many), 100 / len(many)), label=name)
    print(f"{name:13s} mean error {error.mean():+.4f} steps, mean square {error.square().mean():.4f} steps²")
right.set_xlabel("result − m · acc (output steps)")
right.set_ylabel("share (%)")
right.legend(loc="lower left")
plt.show()
print(f"theory: rounded 0 and 1/12 = {1 / 12:.4f}, dropped -1/2 and 1/3 = {1 / 3:.4f}")

# %% [markdown]
# **Not everybody rounds like this.** gemmlowp, a library that TensorFlow Lite used, rounds *twice*. How often does that
# differ from yours?

# %% tags=["explore"]
from course_utils.quantization import requantize_twice

for m in (0.3, 0.0123, 2.0**-7, 0.0007):
    multiplier, shift = fixed_point_multiplier(m)
    once, twice = requantize(many, multiplier, shift), requantize_twice(many, multiplier, shift)
    differ = (once != twice).double().mean()
    print(f"m = {m:<9g} {100 * differ:7.4f} % of the results differ, by at most {int((once - twice).abs().max())}")
halves = torch.tensor([-320, -192, -64, 64, 192, 320])
print(f"acc / 128 for acc = {halves.tolist()}: {(halves / 128).tolist()}")
print("  rounded once, halves up:        ", requantize(halves, *fixed_point_multiplier(2.0**-7)).tolist())
print("  gemmlowp, halves away from zero:", requantize_twice(halves, *fixed_point_multiplier(2.0**-7)).tolist())

# %% [markdown]
# <details><summary>For the curious: where the difference comes from</summary>
#
# gemmlowp keeps the upper half of the doubled product, rounded, and then shifts the rest away, rounded again, the
# second time with halves away from 0 (`requantize_twice` of the course package does the same). The first rounding
# leaves shift − 31 bits behind the point, and the second one decides by them. With $m = 0.3$ that is a single bit:
# $0.3$ becomes $\tfrac12 \cdot \operatorname{round}(0.6) = \tfrac12$, which looks like a half and goes to 1. With the
# small $M$ of real layers there are many bits, and differences get rare. Two implementations agree bit by bit only if
# they agree on this. When you compare with a chip, ask first how it rounds.
#
# </details>

# %% [markdown]
# ## Exercise 5: a quantized layer
#
# Now the object that the rest of the course works with. `QuantizedLayer(layer)` takes a trained `nn.Linear` or
# `nn.Conv2d` apart once, and then runs on codes as often as you like. The layer itself must stay as it was.
#
# **The constructor** quantizes the weight with `quantize_tensor` (given above).
#
# **The bias.** It is added to the accumulator, so it must be counted in accumulator steps: scale
# $\Delta_b = \Delta_x \Delta_w$, zero point 0,
#
# $$ b^q = \operatorname{round}\!\left( \frac{b}{\Delta_x \Delta_w} \right), \quad
#    \text{saturated to } -2^{31} \dots 2^{31} - 1 . $$
#
# (32 bits, because there are few biases, and an error in one hits *all* outputs of its channel alike.) The input's
# $\Delta_x$ is known only when an input comes, so this happens in `run_quantized_layer`.
#
# **Running** is what you did in exercises 1 to 4, and the order matters (codes have $n$ bits; to clamp is to saturate):
#
# $$
# y^q = \operatorname{clamp}\Bigl( \operatorname{round}\bigl( M \cdot acc \bigr) + Z_y,\; 0,\; 2^n - 1 \Bigr),
# \qquad acc = \sum (x^q - Z_x)(w^q - Z_w) + b^q,
# \qquad M = \frac{\Delta_x \Delta_w}{\Delta_y} .
# $$
#
# By hand: one output, weight $(-0.5,\ 0.25,\ 0.49609375)$, bias 0.1, on 8 bits.
#
# - The weight's range has the width $0.99609375 = 255 \cdot 2^{-8}$, so $\Delta_w = 2^{-8}$, $Z_w = 128$ and $w^q =
#   (0, 192, 255)$.
# - Input $x^q = (26, 10, 4)$ with $\Delta_x = 2^{-4}$, $Z_x = 10$ means $(1, 0, -0.375)$.
# - Sum: $16 \cdot (-128) + 0 \cdot 64 + (-6) \cdot 127 = -2810$.
# - Bias: $0.1 / 2^{-12} = 409.6$, so $b^q = 410$ and $acc = -2400$.
# - With $\Delta_y = 0.02$, $Z_y = 100$: $M = 0.01220703$, $M \cdot acc = -29.297$, rounded $-29$, so $y^q = 71$.
# - That means $0.02 \cdot (71 - 100) = -0.58$. The float layer says $-0.586$.
#
# **Padding.** A convolution with padding surrounds the image with *zeros*: the real number 0. The code of 0 is $Z_x$.
# So pad codes with $Z_x$; the code 0 would mean $-\Delta_x Z_x$, the lowest value of the range. The easy way: subtract
# $Z_x$ first, then let the convolution pad with 0 as it always does.
#
# **Sums.** `functional.conv2d`, with the layer's `stride`, `padding`, `dilation` and `groups`, and `functional.linear`
# do them for you. Both take `float64` tensors, and `int64` ones (slowly). `float32` is not enough, as you have seen.
#
# The factor $M$ may be applied in `float64` and rounded with `torch.round`, or with fixed-point arithmetic as in
# exercises 3 and 4: before rounding they differ by less than $2^{-12}$. Three checks, each for points of its own:
# `Linear`, `Conv2d`, then unusual numbers and layers.


# %% nbgrader={"grade_id": "quantized_layer", "solution": true}
class QuantizedLayer:
    """A Linear or Conv2d layer that takes codes and returns codes.

    Attributes:
        weight_q, weight_scalefactor, weight_zeropoint: what quantize_tensor makes of the layer's weight (float32 tensor
            of whole numbers, float, int).
    """

    def __init__(self, layer, num_bits=8):
        """Quantizes the weight.

        Args:
            layer: nn.Linear or nn.Conv2d, or of a class derived from one of them; float32 or float64; with or without
                a bias, of any stride, padding (numbers, "same" or "valid"), dilation and groups. Nothing of it is
                changed: numbers, dtypes, settings, mode, gradients, hooks. Nobody else changes it later, either.
            num_bits: of all codes: weight, input and output; 2 to 8.

        Raises:
            TypeError: if layer is neither nn.Linear nor nn.Conv2d.
            ValueError: if it is an nn.Conv2d whose padding_mode is not "zeros".
        """
        ### BEGIN SOLUTION
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            raise TypeError(f"cannot quantize a {type(layer).__name__}")
        if isinstance(layer, nn.Conv2d) and layer.padding_mode != "zeros":
            raise ValueError(f"cannot pad by {layer.padding_mode!r}")
        self.layer, self.num_bits = layer, num_bits
        self.weight_q, self.weight_scalefactor, self.weight_zeropoint = quantize_tensor(layer.weight, num_bits=num_bits)
        self.bias = None if layer.bias is None else layer.bias.detach().double()
        ### END SOLUTION

    def run_quantized_layer(self, x, x_scalefactor, x_zeropoint, out_scalefactor, out_zeropoint):
        """Runs the layer on codes. Each call goes by its own grids. Bias code and sum are exact; only the bias code
        saturates.

        Args:
            x: float32 tensor of whole numbers 0 .. 2^num_bits - 1; (..., in_features) for Linear, with any leading
                dimensions, empty ones too; (batch, in_channels, height, width) for Conv2d. It may require a gradient.
                Not changed.
            x_scalefactor, x_zeropoint: the input's grid, a float and an int.
            out_scalefactor, out_zeropoint: the output's grid, a float and an int. M may be 1 and more.

        Returns:
            float32 tensor of whole numbers 0 .. 2^num_bits - 1, of the shape that the layer itself returns. Without
            gradient. Of two equally near codes either will do.
        """
        ### BEGIN SOLUTION
        acc_scale = x_scalefactor * self.weight_scalefactor
        x = x.detach().double() - x_zeropoint  # padding with 0 is right from here on
        weight = self.weight_q.double() - self.weight_zeropoint
        bias_q = None
        if self.bias is not None:
            bias_q = torch.round(self.bias / acc_scale).clamp(-(2**31), 2**31 - 1)
        if isinstance(self.layer, nn.Linear):
            acc = functional.linear(x, weight, bias_q)
        else:
            conv = self.layer
            acc = functional.conv2d(x, weight, bias_q, conv.stride, conv.padding, conv.dilation, conv.groups)
        q = torch.round(acc * (acc_scale / out_scalefactor)) + out_zeropoint
        return torch.clamp(q, 0, 2**self.num_bits - 1).float()
        ### END SOLUTION


# %% nbgrader={"grade_id": "check_quantized_layer", "grade": true, "points": 4}
@probe
def use_linear(weight, bias, num_bits, training, sets):
    """The student's layer, made here and run on each set: anew each time, and once for all in the same storage, while
    another one is used beside it; stored weight, and what the layer looks like at the end."""
    layer = make_layer("linear", weight, bias, training=training)
    anew = [QuantizedLayer(layer, num_bits).run_quantized_layer(*arguments) for arguments in sets]
    made = QuantizedLayer(layer, num_bits)
    other = QuantizedLayer(make_layer("linear", 1 - weight, torch.ones(len(weight))), 10 - num_bits)

    def run(x, *grids):
        other.run_quantized_layer(torch.zeros_like(x), *grids)
        return made.run_quantized_layer(x, *grids)

    at_once, later = reused(run, sets)
    stored = [made.weight_q, made.weight_scalefactor, made.weight_zeropoint]
    return anew, at_once, later, stored, state_of(layer, sorted(vars(layer)))


@probe
def without_gradient(kind, weight, bias, x, *grids):
    """The result for an x and a layer that require gradients."""
    result = QuantizedLayer(make_layer(kind, weight, bias)).run_quantized_layer(x.requires_grad_(), *grids)
    return result.numpy()  # which refuses a tensor that requires a gradient


with check("quantized_layer"):
    from course_utils.quantization import integer_linear, quantize_bias

    code = "an output code is round(M * (sum + bias code)) + out_zeropoint"
    stores = "the constructor quantizes the weight with quantize_tensor"
    whole = "output codes are whole numbers from 0 to 2^num_bits - 1"
    ordinary = "a layer without bias, and an x with any leading dimensions, are ordinary ones"
    own = "every call goes by the x and the grids that it gets, and its result is its own"

    def try_linear(facts, weight, bias, num_bits, x, *grids, rule=code, training=True):
        """Every rule on one linear layer, run on each grid, on x and on other codes in the same storage."""
        layer, wanted = (
            make_layer("linear", weight, bias, training=training),
            quantize_tensor(weight, num_bits=num_bits),
        )
        top = 2**num_bits - 1
        sets = [(codes, *grid) for grid in grids for codes in (x, top - x)]
        before, hint = state_of(x), "is there a step that needs a bias, or two dimensions?"
        anew, at_once, later, stored, look = expect_returns(
            lambda: use_linear(weight, bias, num_bits, training, sets), ordinary, given=facts, hint=hint
        )
        hint = "x -= ... writes into the caller's tensor"
        expect_unchanged(before, state_of(x), "x itself is not changed", hint=hint)
        hint = "which of your lines writes into layer, its parameters or their settings?"
        expect_unchanged(state_of(layer, sorted(vars(layer))), look, "the layer itself is not changed", hint=hint)
        for name, part in zip(("weight_q", "weight_scalefactor", "weight_zeropoint"), stored, strict=True):
            kind = {"weight_q": torch.float32, "weight_scalefactor": float, "weight_zeropoint": int}[name]
            type_rule = f"{name} is of the type that quantize_tensor gives"
            expect_type(part, kind, type_rule, given=facts, hint="store the three results as they are")
        hint = "which range and which number of bits does your weight get?"
        expect_equal([stored[1], stored[2]], list(wanted[1:]), stores, given=facts, hint=hint)
        expect_equal(stored[0], wanted[0], stores, given=facts, hint=hint)
        for number, (codes, x_scale, x_zero, out_scale, out_zero) in enumerate(sets):
            out = anew[number]
            hint = "is there a way out of your function that leaves it in another dtype, or returns nothing?"
            expect_type(out, torch.float32, "the result is a float32 tensor", given=facts, hint=hint)
            bias_q = None if bias is None else quantize_bias(bias, x_scale * wanted[1])
            acc = integer_linear(codes, x_zero, wanted[0], wanted[2], bias_q)
            exact = acc.double() * (x_scale * wanted[1] / out_scale) + out_zero
            grid = f"{facts}; grids {x_scale:.6g}, {x_zero} to {out_scale:.6g}, {out_zero}"
            shapes = tuple(exact.shape), tuple(out.shape)
            hint = "which of your steps changes the number of dimensions?"
            expect(shapes[0] == shapes[1], ordinary, given=grid, expected=shapes[0], got=shapes[1], hint=hint)
            rounded = out.double().round().clamp(0, top)
            hint = "which step comes last, and which ends belong to num_bits?"
            expect_equal(out, rounded, whole, given=grid, hint=hint)
            # float32 in the last step may lose 2^-24 of numbers below 2^10; 2^-12 leaves room for three such losses
            expect_close(
                out,
                exact.clamp(0, top),
                rule,
                within=0.5 + 2.0**-12,
                given=grid,
                hint="follow the line 'Running is ...' above from the inside out; each call goes by the grids it gets",
            )
        expect_equal(at_once, anew, own, given=facts, hint="what do you keep between two calls, and where?")
        hint = "is a result handed out that the next call writes into, or a view of x?"
        expect_equal(later, anew, own, given=facts, hint=hint)

    weight, bias = torch.tensor([[-0.5, 0.25, 127 / 256]]), torch.tensor([0.1])
    x = torch.tensor([[26.0, 10.0, 4.0]])
    first = (2.0**-4, 10, 0.02, 100)
    facts = "the example above"
    second = (2.0**-5, 3, 0.011, 70)
    try_linear(facts, weight, bias, 8, x, first, second, first[:2] + second[2:], second[:2] + first[2:])
    results, *_ = use_linear(weight, bias, 8, True, [(x, *first)])
    hint = "go through the example line by line: sum -2810, bias 410, M * acc -29.297"
    expect_equal(results[0], [[71]], code, given=facts, hint=hint)
    try_linear(f"{facts}, in a float64 layer", weight.double(), bias.double(), 8, x, first)
    sums = 300 * 255**2 + torch.arange(6, dtype=torch.float64)  # beyond 2^24
    facts = "300 products of 255 and 255, and a float64 bias that cancels all but -5 .. 0 of their sum"
    ones = torch.ones(6, 300, dtype=torch.float64)
    try_linear(facts, ones, -sums / 255, 8, torch.full((1, 300), 255.0), (1.0, 0, 1 / 255, 100))

    x = torch.tensor([[12.0, 10.0, 4.0], [15.0, 10.0, 10.0], [0.0, 10.0, 15.0]])
    facts = "the same weight, no bias, 4 bits; some results leave the codes 0 .. 15 on either side"
    try_linear(facts, weight, None, 4, x, (2.0**-4, 10, 0.03, 9), rule=whole)

    def expect_no_gradient(kind, weight, bias, x, wanted):
        """The example's code, for a layer and an x that require gradients."""
        rule, hint = "the result has no gradient", "what do weight and bias carry along, and an x that requires one?"
        facts = f"{kind}, {'no' if bias is None else 'with'} bias; x and the layer require gradients"
        out = expect_returns(lambda: without_gradient(kind, weight, bias, x, *first), rule, given=facts, hint=hint)
        expect_equal(out.flatten(), [wanted], code, given=facts, hint=hint)

    x = torch.tensor([[26.0, 10.0, 4.0]])
    for bias_, wanted in ((bias, 71), (None, 66)):
        expect_no_gradient("linear", weight, bias_, x, wanted)
        expect_no_gradient("conv", weight[:, :, None, None], bias_, x[:, :, None, None], wanted)
    g = generator()

    def draw_linear(num_bits, leading, with_bias):
        """A random layer of 40 inputs and 11 outputs, on two random pairs of grids; some outputs saturate."""
        levels = 2**num_bits - 1
        weight = torch.randn(11, 40, generator=g) * 0.2 + 0.05
        bias = torch.randn(11, generator=g) if with_bias else None
        x = torch.randint(0, levels + 1, (40, *leading), generator=g).float().movedim(0, -1)
        grids = []
        for x_scale in (1 + torch.rand(2, generator=g, dtype=torch.float64)).tolist():
            x_zero, out_zero = (int(z) for z in torch.randint(0, levels + 1, (2,), generator=g))
            grids.append((4 * x_scale / levels, x_zero, 16 * x_scale / levels, out_zero))
        facts = f"{num_bits} bits, x of shape {tuple(x.shape)}, {'with' if with_bias else 'no'} bias"
        try_linear(facts, weight, bias, num_bits, x, *grids, training=with_bias)

    for num_bits, leading, with_bias in (
        *((8, (60,), True), (8, (3, 5), False), (2, (), True), (8, (0,), True), (3, (1, 2, 3), False), (4, (), False)),
        *((5, (0, 2), False), (6, (7, 1), True), (7, (1,), True), (8, (1009,), False)),
    ):
        draw_linear(num_bits, leading, with_bias)
    ### BEGIN HIDDEN TESTS
    for num_bits, leading, with_bias in ((8, (6,), True), (4, (7,), True), (2, (9,), False), (7, (2, 3, 4), False)):
        draw_linear(num_bits, leading, with_bias)
    ### END HIDDEN TESTS


# %% nbgrader={"grade_id": "check_quantized_layer_conv", "grade": true, "points": 4}
@probe
def use_conv(weight, bias, ways, num_bits, sets):
    """The student's convolution, made here and run on each set: anew each time, and once for all in the same storage,
    while another one is used beside it; and what the layer looks like at the end."""
    layer = make_layer("conv", weight, bias, **ways)
    anew = [QuantizedLayer(layer, num_bits).run_quantized_layer(*arguments) for arguments in sets]
    made = QuantizedLayer(layer, num_bits)
    other = QuantizedLayer(make_layer("conv", 1 - weight, torch.ones(len(weight)), **ways), 10 - num_bits)

    def run(x, *grids):
        other.run_quantized_layer(torch.zeros_like(x), *grids)
        return made.run_quantized_layer(x, *grids)

    return anew, *reused(run, sets), state_of(layer, sorted(vars(layer)), layer.extra_repr())


with check("quantized_layer"):
    from course_utils.quantization import integer_conv2d, quantize_bias

    code = "a convolution's output code is round(M * (sum + bias code)) + out_zeropoint"
    pads = "padding is filled with the code of 0, the zero point"
    own = "every layer goes by its own numbers, whatever was made or run before"

    def try_conv(rule, facts, weight, bias, ways, num_bits, x, *grids, expected=None):
        """One convolution, run on each grid, on x and on other codes in the same storage."""
        before, (q, scale, zero) = state_of(x), quantize_tensor(weight, num_bits=num_bits)
        top, layer = 2**num_bits - 1, make_layer("conv", weight, bias, **ways)
        sets = [(codes, *grid) for grid in grids for codes in (x, top - x)]
        hint = "which settings of the layer does a convolution need, and in which form does the layer have them?"
        anew, at_once, later, look = expect_returns(
            lambda: use_conv(weight, bias, ways, num_bits, sets), rule, given=facts, hint=hint
        )
        hint = "x -= ... writes into the caller's tensor"
        expect_unchanged(before, state_of(x), "x itself is not changed", hint=hint)
        hint = "which of your lines writes into layer, its parameters or their settings?"
        look_before = state_of(layer, sorted(vars(layer)), layer.extra_repr())
        expect_unchanged(look_before, look, "the layer itself is not changed", hint=hint)
        hint = "which settings of the layer does a convolution need, and in which form does the layer have them?"
        if rule == pads:
            hint = "which real number surrounds the image, and when is 0 the right code for it?"
        settings = {name: way for name, way in ways.items() if name != "training"}
        for number, (codes, x_scale, x_zero, out_scale, out_zero) in enumerate(sets):
            if expected is None or number:
                bias_q = None if bias is None else quantize_bias(bias, x_scale * scale)
                exact = integer_conv2d(codes, x_zero, q, zero, bias_q, **settings).double()
                wanted = (exact * (x_scale * scale / out_scale) + out_zero).clamp(0, top)
            else:
                wanted = torch.tensor(expected).double()
            grid = f"{facts}; grids {x_scale:.6g}, {x_zero} to {out_scale:.6g}, {out_zero}"
            # float32 in the last step may lose 2^-24 of numbers below 2^10; 2^-12 leaves room for three such losses
            within = 0.5 + 2.0**-12 if expected is None or number else 0
            of_type, whole = "the result is a float32 tensor", "output codes are whole numbers from 0 to 2^num_bits - 1"
            expect_type(anew[number], torch.float32, of_type, given=grid, hint="which step comes last?")
            rounded = anew[number].double().round().clamp(0, top)
            expect_equal(anew[number], rounded, whole, given=grid, hint="which step comes last?")
            expect_close(anew[number], wanted, rule, within=within, given=grid, hint=hint)
        hint = "what do you keep between two calls, and where? Some of it depends on the grids"
        expect_equal(at_once, anew, own, given=facts, hint=hint)
        expect_equal(later, anew, own, given=facts, hint="is a result handed out that the next call writes into?")

    weight = torch.tensor([[[[-0.5, 0.25], [127 / 256, 0.0]]]])
    x = torch.tensor([[[[26.0, 10.0], [4.0, 12.0]]]])
    grid = (2.0**-4, 10, 0.021, 100)
    facts = "weight codes 0, 192, 255, 128 (zero point 128), x = 26, 10, 4, 12 (zero point 10): the sum is -2810"
    try_conv(code, facts, weight, None, {}, 8, x, grid, expected=[[[[67.0]]]])
    facts = "an image that is 0.0 everywhere (code 10), padding 1: every output must be 0.0 (code 100)"
    try_conv(
        pads,
        facts,
        weight,
        None,
        {"padding": 1},
        8,
        torch.full((1, 1, 2, 2), 10.0),
        grid,
        expected=[[[[100.0] * 3] * 3]],
    )
    facts = "the same weight and x, padding 1"
    wanted = [[[[100.0, 124, 100], [112, 67, 103], [96, 110, 97]]]]
    try_conv(pads, facts, weight, None, {"padding": 1}, 8, x, grid, expected=wanted)
    facts = "the same weight and x, padding 1, stride 2"
    rule = "the layer's stride is respected"
    try_conv(rule, facts, weight, None, {"padding": 1, "stride": 2}, 8, x, grid, expected=[[[[100.0, 100], [96, 97]]]])
    g = generator()

    def draw_conv(about, ways, num_bits, kernel=(3, 2), with_bias=True, pairs=1):
        """A random convolution of 4 channels to 8, on one random pair of grids, or three; some outputs saturate."""
        levels = 2**num_bits - 1
        weight = torch.randn(8, 4 // ways.get("groups", 1), *kernel, generator=g) * 0.2 - 0.05
        weight = weight.double() if num_bits in (3, 6) else weight
        bias = torch.randn(8, generator=g) if with_bias else None
        ways = ways | {"training": with_bias}
        x = torch.randint(0, levels + 1, (2, 9, 4, 8), generator=g).float().transpose(1, 2)
        grids = []
        for x_scale in (1 + torch.rand(2, generator=g, dtype=torch.float64)).tolist():
            x_zero, out_zero = (int(z) for z in torch.randint(1, levels + 1, (2,), generator=g))
            grids.append((4 * x_scale / levels, x_zero, 12 * x_scale / levels, out_zero))
        grids = [*grids, grids[0][:2] + grids[1][2:]][:pairs]
        facts = f"Conv2d with {ways}, weight {weight.dtype} {tuple(weight.shape)}, bias {with_bias}, {num_bits} bits"
        rule = f"the layer's {about} respected" if about else code
        try_conv(rule, facts, weight, bias, ways, num_bits, x, *grids)

    for about, ways, kernel in (
        ("", {}, (3, 2)),
        ("", {}, (1, 1)),
        ("stride is", {"stride": (1, 3)}, (3, 2)),
        ("padding is", {"padding": (0, 2)}, (3, 2)),
        ("padding is", {"padding": "valid"}, (2, 3)),
        ("dilation is", {"dilation": (2, 1)}, (3, 2)),
        ("groups are", {"groups": 2}, (3, 2)),
        ("groups are", {"groups": 4, "stride": 2, "padding": 1}, (2, 2)),
        ("padding is", {"padding": "same"}, (4, 2)),
        ("padding is", {"padding": "same", "dilation": (2, 1)}, (3, 3)),
        ("padding is", {"padding": "same", "dilation": (1, 3), "groups": 2}, (3, 2)),
    ):
        draw_conv(about, ways, 8, kernel, pairs=3)
        draw_conv(about, ways, 3, kernel, with_bias=False)
    for num_bits in (2, 4, 5, 6, 7):
        draw_conv("", {"padding": 1}, num_bits, with_bias=num_bits % 2 == 0)
    ### BEGIN HIDDEN TESTS
    everything = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2}
    for about, ways in (
        ("", {}),
        ("stride is", {"stride": 2}),
        ("stride is", {"stride": (3, 1)}),
        ("padding is", {"padding": 2}),
        ("padding is", {"padding": (2, 0)}),
        ("padding is", {"padding": "valid"}),
        ("padding is", {"padding": "same", "dilation": (1, 3)}),
        ("dilation is", {"dilation": 2}),
        ("dilation is", {"dilation": (1, 2)}),
        ("groups are", {"groups": 4}),
        ("stride, padding, dilation and groups are", everything),
    ):
        draw_conv(about, ways, 8)
    ### END HIDDEN TESTS


# %% nbgrader={"grade_id": "check_quantized_layer_edges", "grade": true, "points": 2}
@probe
def refusal(kind):
    """The names of the exception that the constructor raises for a layer, or what else happens."""
    layers = {
        "ReLU": nn.ReLU(),
        "BatchNorm2d": nn.BatchNorm2d(2),
        "ConvTranspose2d": nn.ConvTranspose2d(1, 1, 3),
        "Conv1d": nn.Conv1d(1, 1, 3),
        "Conv1d, reflect": nn.Conv1d(1, 1, 3, padding=1, padding_mode="reflect"),
        "Bilinear": nn.Bilinear(1, 1, 1),
        "Sequential of a Linear": nn.Sequential(nn.Linear(1, 1)),
        "a tensor": torch.ones(1, 1),
        "None": None,
        "another class called Linear": type("Linear", (nn.Module,), {"weight": torch.ones(1, 1), "bias": None})(),
        "another class called Conv2d": type("Conv2d", (nn.Conv1d,), {})(1, 1, 3),
        "reflect, without padding": nn.Conv2d(1, 1, 3, padding_mode="reflect"),
        "reflect": nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"),
        "replicate": nn.Conv2d(1, 1, 3, padding=1, padding_mode="replicate"),
        "circular": nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"),
        "derived from Linear": type("Derived", (nn.Linear,), {})(2, 1),
        "derived from Conv2d": type("Derived", (nn.Conv2d,), {})(2, 1, 3),
        "derived from Conv2d, reflect": type("Derived", (nn.Conv2d,), {})(1, 1, 3, padding=1, padding_mode="reflect"),
        "derived from Conv2d, circular": type("Derived", (nn.Conv2d,), {})(1, 1, 3, padding=1, padding_mode="circular"),
    }
    try:
        QuantizedLayer(layers[kind])
    except NotImplementedError:
        raise
    except Exception as error:
        return [c.__name__ for c in type(error).__mro__]
    return ["no exception"]


@probe
def run_edge(kind, weight, bias, x, *grids):
    """The results of the student's layer, made here and run on 8 bits, on one grid after the other; also of a derived
    class."""
    layer = make_layer(kind.removeprefix("derived "), weight, bias)
    if kind.startswith("derived "):
        layer.__class__ = type("Derived", (type(layer),), {})
    made = QuantizedLayer(layer)
    return [made.run_quantized_layer(x, *grid) for grid in grids]


with check("quantized_layer"):

    def expect_refused(kind, error, rule, hint):
        """The constructor raises this error, or none."""
        raised = refusal(kind)
        expect(error in raised, rule, given=kind, expected=error, got=raised[0], hint=hint)

    def try_edge(rule, facts, hint, kind, weight, bias, x, grids, expected, within=0):
        """One unusual layer against its codes; a linear one as a convolution of one pixel, too."""
        bias = None if bias is None else torch.tensor(bias)
        out = expect_returns(lambda: run_edge(kind, weight, bias, x, grids)[0], rule, given=facts, hint=hint)
        expect_close(out, expected, rule, within=within, given=facts, hint=hint)
        if kind == "linear":
            w, pixel, facts = weight[:, :, None, None], x[:, :, None, None], f"a convolution of one pixel: {facts}"
            out = expect_returns(lambda: run_edge("conv", w, bias, pixel, grids)[0], rule, given=facts, hint=hint)
            expected = torch.as_tensor(expected)[:, :, None, None]
            expect_close(out, expected, rule, within=within, given=facts, hint=hint)

    kinds = "a layer that is neither Linear nor Conv2d is refused with a TypeError"
    for kind in (
        *("ReLU", "BatchNorm2d", "ConvTranspose2d", "Conv1d, reflect", "Bilinear", "Sequential of a Linear"),
        *("a tensor", "None", "another class called Linear", "another class called Conv2d"),
    ):
        expect_refused(kind, "TypeError", kinds, "which kinds are allowed? To have a weight is not enough")
    for kind in ("derived from Linear", "derived from Conv2d"):
        hint = "isinstance or type(...) ==: which of them takes a derived class?"
        rule = "a layer of a class derived from Linear or Conv2d is accepted"
        expect_refused(kind, "no exception", rule, hint)
    weight, x = torch.tensor([[-0.5, 0.25], [127 / 256, 0.0]]), torch.tensor([[26.0, 10.0], [4.0, 12.0]])
    grids = (2.0**-4, 10, 0.021, 100)
    for kind, wanted in (("derived linear", [[76, 124], [110, 91]]), ("derived conv", [[[[67]]]])):
        w, image = (weight, x) if kind == "derived linear" else (weight[None, None], x[None, None])
        facts, hint = f"{kind}, weight {weight.tolist()}", "does running ask for the class as the constructor does?"
        try_edge(rule, facts, hint, kind, w, None, image, grids, wanted)
    modes = "a convolution that pads with anything but zeros is refused with a ValueError"
    for kind in ("reflect", "circular", "reflect, without padding", "derived from Conv2d, reflect"):
        expect_refused(kind, "ValueError", modes, "which setting of a Conv2d says with what it pads?")

    # weight codes 0 and 255, zero point 0, step 2^-8; input step 2^-4, so one accumulator step is 2^-12
    weight, nothing = torch.tensor([[0.0, 255 / 256]]), torch.zeros(1, 2)
    rule = "the bias is rounded to accumulator steps, x_scalefactor * weight_scalefactor"
    hint = "when is the bias rounded: before it is added to the sum?"

    def try_bias(steps, near):
        grids, facts = (2.0**-4, 0, 2.0**-12 / 0.9, 50), f"no sum, a bias of {steps} accumulator steps, M = 0.9"
        try_edge(rule, facts, hint, "linear", weight, [steps * 2.0**-12], nothing, grids, [[near]], 0.5 + 2.0**-12)

    for steps, whole in ((7.4, 7), (16.4, 16), (7.6, 8), (-7.4, -7), (-16.4, -16), (-7.6, -8)):
        try_bias(steps, 50 + 0.9 * whole)
    wide = "a bias beyond 32 bits saturates at -2^31 and 2^31 - 1"

    def try_wide(bias, expected, zero=0):
        facts = f"bias {bias}, one accumulator step is 2^-40, M = 2^-24: 2^31 steps of it are 128; out_zeropoint {zero}"
        hint = "which is the largest code of 32 bits, which the smallest?"
        grids = (2.0**-32, 0, 2.0**-16, zero)
        try_edge(wide, facts, hint, "linear", weight, [bias], nothing, grids, [[expected]])

    for bias, zero, expected in ((1.0, 0, 128), (-1.0, 200, 72), (0.5, 0, 128), (1.0, 100, 228), (2.0**-12, 3, 19)):
        try_wide(bias, expected, zero)
    exact = "sum and bias code are exact, above 2^24 too"
    hint = "float32 has gaps up there: in which dtype are the sum and the bias code computed?"

    def try_long(kind, n, rest):
        """n products of 255 and 255, and a bias that leaves little of their sum; M = 1."""
        weight, x = torch.ones(1, n), torch.full((1, n), 255.0)
        if kind == "conv":
            weight, x = weight.reshape(1, n, 1, 1), x.reshape(1, n, 1, 1)
        step = 0.1 * quantize_tensor(weight)[1]
        bias = float(torch.tensor(rest - 25.5 * n))  # what float32 makes of it
        left = 255**2 * n + round(bias / step)
        facts = f"{kind}, {n} products of 255 and 255, bias {bias!r}: of the sum {left} steps are left; M = 1"
        expected = torch.tensor(10.0 + left).reshape((1, 1) if kind == "linear" else (1, 1, 1, 1))
        try_edge(exact, facts, hint, kind, weight, [bias], x, (0.1, 0, step, 10), expected)

    for kind in ("linear", "conv"):
        try_long(kind, 301, 0.02)
        try_long(kind, 1601, 0.0253)
    # weight codes 1 and 255 around the zero point 128, and one 0: differences of 127 times the codes
    g = generator()
    codes = torch.randint(100, 256, (1, 3001), generator=g).float()
    x = torch.cat([codes, codes.flip(1), torch.tensor([[0.0, 3.0]])], 1)
    weight = torch.cat(
        [torch.full((1, 3001), 127 / 256), torch.full((1, 3001), -127 / 256), torch.tensor([[-0.5, 0.25]])], 1
    )
    facts = "no bias, 3001 products of 127 and codes, the same of -127, and 3 times 64: the sum is 192; M = 1"
    try_edge(exact, facts, hint, "linear", weight, None, x, (2.0**-4, 0, 2.0**-12, 10), [[202]])
    facts = "no bias, 70001 products of 255 and 255, more than 2^32; M = 2^-25"
    step, hint = quantize_tensor(torch.ones(1))[1], "the bias code has 32 bits: what has the sum?"
    for zero, sign, out_zero in ((0, 1, 0), (510, -1, 200)):
        grids, wanted = (2.0**-40 / step, zero, 2.0**-15, out_zero), out_zero + sign * 70_001 * 255**2 * 2.0**-25
        x = torch.full((1, 70_001), 255.0)
        try_edge(wide, facts, hint, "linear", torch.ones(1, 70_001), None, x, grids, [[wanted]], 0.5 + 2.0**-12)
    rule, hint = (
        "each call goes by its own grids, however near they are",
        "what do you keep, and how do you know it again?",
    )
    step, n, bias = quantize_tensor(torch.ones(1))[1], 1601, torch.tensor([-25.5 * 1601])
    for kind, shape in (("linear", (1, n)), ("conv", (1, n, 1, 1))):
        scales = [0.1, *(0.1 * (1 + k * 2.0**-25) for k in (1, 2, 3, 30)), 0.1]
        grids = [(scale, 0, scale * step, 20) for scale in scales]
        facts = f"{kind}: 1601 products of 255 and 255 less a bias; input steps 0.1 * (1 + k * 2^-25)"
        sums = [20 + 255**2 * n + float(bias) / (scale * step) for scale in scales]
        results = run_edge(kind, torch.ones(shape), bias, torch.full(shape, 255.0), *grids)
        results = [result.flatten() for result in results]
        expect_close(results, sums, rule, within=0.5 + 2.0**-12, given=facts, hint=hint)
        small, weight = [2.0**-30, 2.0**-31, 2.0**-32], torch.tensor([0.0, 255 / 256]).reshape(1, 2, *shape[2:])
        grids = [(scale, 0, scale * 2.0**-8, 0) for scale in small]
        facts = f"{kind}: a bias of 2^-32 alone, input steps 2^-30, 2^-31, 2^-32 (accumulator steps are 2^-8 of these)"
        results = run_edge(kind, weight, torch.tensor([2.0**-32]), torch.zeros(1, 2, *shape[2:]), *grids)
        results = [result.flatten() for result in results]
        expect_equal(results, [64, 128, 255], rule, given=facts, hint=hint)
    # a sum of 33025 * 255 * 255 + 129 * 255 = 2^31 - 128 steps, or minus that, and a bias of many more
    codes, ones = torch.tensor([[255.0] * 33025 + [129.0]]), torch.ones(1, 33026)
    for x, zero, bias, m, out_zero, expected in (
        (codes, 0, -1.0, 1.0, 200, 72),
        (255 - codes, 255, 1.0, 1.0, 0, 127),
        (codes, 0, 1.0, 2.0**-25, 0, 128),  # about 2^32 steps together
        (255 - codes, 255, -1.0, 2.0**-25, 200, 72),
    ):
        facts = f"a sum of {'-' if zero else ''}(2^31 - 128), a bias of {bias:+} * 2^40 accumulator steps, M = {m}"
        step = quantize_tensor(ones)[1]
        grids = (2.0**-40 / step, zero, 2.0**-40 / m, out_zero)
        hint = "which end of 32 bits is which? The bias code saturates, before it is added; the sum does not"
        try_edge(wide, facts, hint, "linear", ones, [bias], x, grids, [[expected]])
    nearest = "an output code is the whole number nearest to M * acc + out_zeropoint"
    steps, hint = 701 * 240 + 350, "how many bits does your M have? 16 are too few to see which number is nearest"
    facts, grids = "no sum, a bias of 168590 accumulator steps, M = 1/701: 240.4993", (2.0**-4, 0, 701 * 2.0**-12, 0)
    weight = torch.tensor([[0.0, 255 / 256]])
    try_edge(nearest, facts, hint, "linear", weight, [steps * 2.0**-12], nothing, grids, [[240]])
    rule_m = "an M of 1 and more is an ordinary one"
    three = torch.tensor([[0.0, 0.0], [0.0, 255 / 256], [0.0, 0.0]])

    def try_large_m(m):
        grids, bias = (2.0**-4, 9, 2.0**-12 / m, 100), [5 * 2.0**-12, 0.0, -3 * 2.0**-12]
        expected, facts = [[100 + 5 * m, 100.0, 100 - 3 * m]], f"accumulators 5, 0, -3, M = {m}"
        try_edge(rule_m, facts, "what is done to M?", "linear", three, bias, torch.full((1, 2), 9.0), grids, expected)

    for m in (1.0, 3.0, 16.0):
        try_large_m(m)
    rule_zero = "a weight of nothing but zeros gives the bias alone"
    facts, hint = "biases 0.5 and -0.25, output step 0.25, zero point 50", "what does quantize_tensor give for zeros?"
    weight_zero, x = torch.zeros(2, 1, 3, 3), torch.zeros(1, 1, 3, 3)
    try_edge(rule_zero, facts, hint, "conv", weight_zero, [0.5, -0.25], x, (0.125, 9, 0.25, 50), [[[[52.0]], [[49.0]]]])
    ### BEGIN HIDDEN TESTS
    expect_refused("Conv1d", "TypeError", kinds, "which kinds are allowed? To have a weight is not enough")
    for kind in ("replicate", "derived from Conv2d, circular"):
        expect_refused(kind, "ValueError", modes, "which setting of a Conv2d says with what it pads?")
    rule, hint = "a layer of a class derived from Linear or Conv2d is accepted", "which class does running ask for?"
    layer = torch.tensor([[0.75, -0.25, 0.5]]), None, torch.tensor([[3.0, 250.0, 77.0]])
    layers = {"linear": layer, "conv": (layer[0].reshape(1, 3, 1, 1), None, layer[2].reshape(1, 3, 1, 1))}
    for kind, case in layers.items():
        plain, facts = run_edge(kind, *case, (0.1, 100, 0.2, 130))[0], f"derived {kind}, beside one that is not"
        try_edge(rule, facts, hint, f"derived {kind}", *case, (0.1, 100, 0.2, 130), plain)
    for steps, whole in ((27.4, 27), (3.6, 4), (-7.4, -7)):
        try_bias(steps, 50 + 0.9 * whole)
    for bias, zero, expected in ((0.75, 5, 133), (-0.6, 130, 2), (2.0**-10, 0, 64), (3.0, 0, 128)):
        try_wide(bias, expected, zero)
    g = generator()
    for n in torch.randint(600, 2000, (4,), generator=g).tolist():
        for kind in ("linear", "conv"):
            try_long(kind, n, 0.02 + float(torch.rand((), generator=g, dtype=torch.float64)) / 25)
    for m in (2.0, 5.0, 20.0):
        try_large_m(m)
    ### END HIDDEN TESTS

# %% [markdown]
# ## Explore: what happens at the border
#
# A picture, a 5 by 5 averaging kernel, padding 2: in the middle your layer, on the right what comes out if the codes
# are padded with 0. A dark frame appears: code 0 means the lowest value of the range.

# %% tags=["explore"]
from course_utils.data import classification_data
from course_utils.networks import accuracy, load_trained, normalize

data = classification_data(train=False)
print(data.note)
model = load_trained(f"classyclassifier-{data.name}")

blur = make_layer("conv", torch.full((1, 3, 5, 5), 1 / 75), padding=2)
picture = normalize(data.images[:1])
with torch.no_grad():
    exact = blur(picture)
x_q, x_scale, x_zero = quantize_tensor(picture, -1.0, 1.0)
_, out_scale, out_zero = quantize_tensor(picture, -1.0, 1.0)
right_way = QuantizedLayer(blur).run_quantized_layer(x_q, x_scale, x_zero, out_scale, out_zero)
framed = functional.pad(x_q, (2, 2, 2, 2))  # code 0, not the code of 0
unpadded = make_layer("conv", torch.full((1, 3, 5, 5), 1 / 75))
wrong_way = QuantizedLayer(unpadded).run_quantized_layer(framed, x_scale, x_zero, out_scale, out_zero)

figure, all_axes = plt.subplots(1, 3, figsize=(9.5, 3.3))
columns = {
    "float layer": exact,
    f"padded with the zero point {x_zero}": dequantize_tensor(right_way, out_scale, out_zero),
    "padded with code 0": dequantize_tensor(wrong_way, out_scale, out_zero),
}
for axes, (name, values) in zip(all_axes, columns.items(), strict=True):
    image = axes.imshow(values[0, 0], vmin=-1, vmax=1, cmap="cividis")
    error = float((values - exact).abs().max()) / out_scale
    axes.set_title(f"{name}\nlargest error {error:.1f} output steps", fontsize=10)
    axes.set_xlabel("column (pixels)")
    axes.grid(False)
all_axes[0].set_ylabel("row (pixels)")
figure.colorbar(image, ax=all_axes, label="output value", fraction=0.02, pad=0.01)
plt.show()
print(f"in a corner 16 of the 25 pixels under the kernel are padding, {x_zero} steps too low: {16 / 25 * x_zero:.1f}")

# %% [markdown]
# ## Explore: the layers of a network, one by one
#
# `ClassyClassifier` is a small network: two convolutions, three linear layers. We record what goes into each and what
# comes out, for 16 test images, and run each again as *your* `QuantizedLayer`. Left the float output, in the middle
# yours, on the right a histogram of the difference in steps of the output's grid. The blue band is $\pm\tfrac12$ step,
# the error of rounding the output and nothing else.
#
# The signal-to-noise ratio of a layer, in decibels, is $\text{SQNR} = 10 \log_{10} \bigl( \sum y^2 / \sum (y -
# \hat y)^2 \bigr)$ with the float output $y$ and the dequantized one $\hat y$. Try to answer before you move a control:
#
# 1. At 8 bits most of the error lies within the band, but not all. What else is rounded besides the output?
# 2. How much SQNR does one bit cost?
# 3. At which number of bits do you *see* a difference between the two pictures?
#
# <details><summary>Answers</summary>
#
# 1. The weight and, for the first layer, the image; then the bias. (Inner layers get their input from another layer,
#    here it is the float one, quantized.) The table below separates them.
# 2. Each bit less doubles all steps, so the error is twice as large: 6 dB. At 3 and 2 bits it may be more or less,
#    because so few codes no longer spread evenly over a step.
# 3. Around 4 bits; in layers with many values near 0 later, in others earlier.
#
# </details>

# %% tags=["explore"]
from course_utils.demos import layer_error

records = layer_error.record_layers(model, normalize(data.images[:16]))
layer_error.layer_error_demo(QuantizedLayer, records)

# %% [markdown]
# No controls to be seen (on paper, in a viewer)? Three settings, one below the other.

# %% tags=["explore"]
layer_error.layer_error_still(QuantizedLayer, records, [("layer1_conv", 8), ("layer1_conv", 3), ("layer8_fc", 8)])

# %% [markdown]
# The table quantizes one thing at a time, and then all together. "Output only" is the best that any layer with an 8-bit
# output can do.


# %% tags=["explore"]
def share_of_noise(record):
    """SQNR (dB) of a layer when only its input, only its weight, only its output, or everything is quantized."""

    def there_and_back(x):
        return dequantize_tensor(*quantize_tensor(x))

    def run(x, weight):
        layer = record.layer
        if isinstance(layer, nn.Linear):
            return functional.linear(x, weight, layer.bias)
        return functional.conv2d(x, weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)

    x, weight, out = record.inputs, record.layer.weight, record.outputs
    with torch.no_grad():
        ways = [run(there_and_back(x), weight), run(x, there_and_back(weight)), there_and_back(out)]
    ways = [affine.sqnr_db(out, way) for way in ways]
    together = -10 * math.log10(sum(10 ** (-ratio / 10) for ratio in ways))
    return [*ways, together, layer_error.compute_layer_error(QuantizedLayer, record).sqnr_db]


print(f"SQNR in dB, 8 bits, 16 images of {data.name}")
print(f"{'layer':12s} {'input only':>11s} {'weight only':>12s} {'output only':>12s} {'sum':>7s} {'your layer':>11s}")
for name, record in records.items():
    ways = share_of_noise(record)
    print(f"{name:12s} {ways[0]:11.2f} {ways[1]:12.2f} {ways[2]:12.2f} {ways[3]:7.2f} {ways[4]:11.2f}")

# %% [markdown]
# Noise powers add up. The column "sum" turns the three ratios into noise powers, $10^{-\text{SQNR}/10}$, adds them,
# and goes back to dB. Your layer is close to it. Mostly the rounding of the output is the largest part; where another
# ratio is nearly as low, as in `layer7_fc`, both count.

# %% [markdown]
# ## What the field reports
#
# **How large are $M$ and the accumulators?** The thesis quotes from Jacob et al. that $M$ was always found between 0
# and 1. Here "bits" is what the largest sum needs, with its sign. "Difference" is how far the fixed-point multiplier
# leads away from the real $M$ there, in output steps; "differ" counts output codes in which your layer and the course's
# (in whole numbers to the end) differ.

# %% tags=["explore"]
from course_utils.quantization import integer_layers

print(
    f"{'layer':12s} {'terms':>6s} {'M':>9s} {'multiplier':>11s} {'shift':>5s} {'difference':>10s} "
    f"{'largest sum':>12s} {'bits':>5s}  differ"
)
for name, record in records.items():
    codes, x_scale, x_zero, out_scale, out_zero = layer_error.quantized_input(record)
    course_layer = integer_layers.QuantizedLayer(record.layer)
    largest = int(course_layer.accumulate(codes, x_scale, x_zero).abs().max())
    m = x_scale * course_layer.weight_scalefactor / out_scale
    multiplier, shift = fixed_point_multiplier(m)
    yours = QuantizedLayer(record.layer).run_quantized_layer(codes, x_scale, x_zero, out_scale, out_zero)
    theirs = course_layer.run_quantized_layer(codes, x_scale, x_zero, out_scale, out_zero)
    print(
        f"{name:12s} {record.layer.weight[0].numel():6d} {m:9.6f} {multiplier:11d} {shift:5d} "
        f"{abs(m - multiplier / 2**shift) * largest:10.1e} {largest:12d} "
        f"{largest.bit_length() + 1:5d}  {int((yours != theirs).sum())} of {yours.numel()}"
    )

narrow = make_layer("linear", torch.tensor([[1.0, -1.0]]))  # the difference of two nearly equal inputs
_, x_scale, _ = quantize_tensor(torch.tensor([-1.0, 1.0]))
_, w_scale, _ = quantize_tensor(narrow.weight)
m = x_scale * w_scale / quantize_tensor(torch.tensor([-0.004, 0.004]))[1]
print(f"difference of two nearly equal inputs, output range ±0.004: M = {m:.4f}, pair {fixed_point_multiplier(m)}")

# %% [markdown]
# The observation holds here, with room to spare. The last line breaks it.
#
# **A whole network: rounding or truncating, 32-bit or 8-bit biases.** The thesis (Table 5.2) truncates in five of
# MobileNetV2's 35 convolutions: the noise grows by 0.4 to 0.8 dB, and the accuracy hardly moves. The next cell runs
# ClassyClassifier in whole numbers from end to end. Each layer's output grid is the next layer's input grid, taken from
# 500 other images; it begins at 0, so saturation is the ReLU. Pooling takes the maximum of codes.
#
# <details><summary>For the curious: the thesis' table</summary>
#
# Of 8-bit biases the thesis says that they make "an overall biased error which continues to propagate". Its table,
# measured on ImageNet ("top-1": the share of images whose largest output is the right one):
#
# | setting (Lund thesis, Table 5.2) | output SQNR | top-1 accuracy |
# |---|---|---|
# | A: all convolutions quantized, rounding | 11.14 | 63.81 % |
# | F: truncating in five layers of high SQNR | 10.76 | 63.95 % |
# | G: truncating in five layers of low SQNR | 10.31 | 63.73 % |
#
# Setting F even gains. (The thesis remarks on the order of F and G, not on the gain.) Do not compare the levels of
# SQNR with ours: MobileNetV2 has 35 convolutions one after the other, and the thesis' equation 4.3 takes a mean of
# ratios, where we take the ratio of two means (its equation 2.22).
#
# </details>

# %% tags=["explore"]
import copy

names = list(records)
calibration = layer_error.record_layers(model, normalize(data.images[-500:]))
tensors = [calibration[name].inputs for name in names] + [calibration[names[-1]].outputs]
grids = [quantize_tensor(t)[1:] for t in tensors]


def run_in_whole_numbers(layers, images):
    """Float images to float outputs; codes in between."""
    q = quantize_tensor(images, float(tensors[0].min()), float(tensors[0].max()))[0]
    for number, layer in enumerate(layers):
        q = layer.run_quantized_layer(q, *grids[number], *grids[number + 1])
        if q.dim() == 4:
            q = functional.max_pool2d(q, 2)
            q = q.flatten(1) if number == 1 else q
    return dequantize_tensor(q, *grids[-1])


def with_8_bit_bias(layer):
    """A copy whose bias went through 8 bits on its own range and back."""
    changed = copy.deepcopy(layer)
    with torch.no_grad():
        changed.bias.copy_(dequantize_tensor(*quantize_tensor(layer.bias)))
    return changed


images, labels = normalize(data.images[:1000]), data.labels[:1000]
with torch.no_grad():
    reference = model(images)
float_layers = [getattr(model, name) for name in names]
course_layer = integer_layers.QuantizedLayer
settings = {
    "your layers": [QuantizedLayer(layer) for layer in float_layers],
    "the course's layers": [course_layer(layer) for layer in float_layers],
    "truncating in all layers": [course_layer(layer, rounding=False) for layer in float_layers],
    "8-bit biases": [course_layer(with_8_bit_bias(layer)) for layer in float_layers],
    "per channel (section 2.3.3)": [course_layer(layer, per_channel=True) for layer in float_layers],
}
step = grids[-1][0]
print(f"{data.name}, {len(images)} test images, float: {100 * accuracy(model, images, labels):.2f} % correct")
print(f"{'setting':28s} {'correct':>9s} {'SQNR (dB)':>10s} {'mean error (steps)':>19s}")
for name, layers in settings.items():
    with torch.no_grad():
        outputs = torch.cat([run_in_whole_numbers(layers, part) for part in images.split(100)])
    share = 100 * float((outputs.argmax(1) == labels).double().mean())
    mean = float((outputs - reference).mean()) / step
    print(f"{name:28s} {share:7.2f} % {affine.sqnr_db(reference, outputs):10.2f} {mean:+19.3f}")

print("half a step of an 8-bit bias, in steps of the layer's output:")
for layer, name, grid in zip(float_layers, names, grids[1:], strict=True):
    print(f"  {name:12s} {quantize_tensor(layer.bias)[1] / 2 / grid[0]:.4f}")

# %% [markdown]
# Which setting costs SQNR, which one accuracy, and why? What does the mean error say?
#
# <details><summary>Answer</summary>
#
# Truncation costs SQNR here too, and more of it, because *all* layers truncate; it shows as a mean error of one sign.
# The accuracy hardly moves (a few images more or less in 1000 are chance): what is added to all ten outputs alike does
# not change which of them is largest. The 8-bit biases cost little here, because half a step of their grid is a small
# part of an output step. In a layer with one large bias among small ones it is not; 32 bits are cheap insurance. The
# last row gives each output channel a weight grid of its own: finer codes, other sums of the same form, and one $M$ for
# each channel.
#
# </details>
#
# **How many bits must a multiplier have?** Yours has 31. The picture shows what fewer do to the codes of the first
# layer. Would 16 bits do?

# %% tags=["explore"]
record = records["layer1_conv"]
codes, x_scale, x_zero, out_scale, out_zero = layer_error.quantized_input(record)
layer = integer_layers.QuantizedLayer(record.layer)
acc = layer.accumulate(codes, x_scale, x_zero)
m = x_scale * layer.weight_scalefactor / out_scale
multiplier, shift = fixed_point_multiplier(m)
full = requantize(acc, multiplier, shift)
shares = []
bits = list(range(2, 31, 2))
for n in bits:
    coarse = round(multiplier / 2 ** (31 - n)) * 2 ** (31 - n)
    shares.append(100 * float((requantize(acc, min(coarse, 2**31 - 1), shift) != full).double().mean()))
figure, axes = plt.subplots(figsize=(6.8, 3))
size = float((m * acc.double()).abs().mean())
axes.plot(bits, shares, "o-", color=COLOURS["blue"], label="codes that change")
axes.plot(
    bits,
    [min(100, 100 * size / 2**n) for n in bits],
    "--",
    color=COLOURS["black"],
    linewidth=1,
    label="$2^{-n}$ · mean of |M · acc|",
)
axes.set_yscale("symlog", linthresh=0.001)
axes.set_ylim(0, 200)
axes.set_xlabel("bits of the multiplier")
axes.set_ylabel("output codes that change (%)")
axes.set_title(f"layer1_conv, {data.name}, {acc.numel()} outputs, M = {m:.5f}")
axes.legend()
plt.show()
print(f"mean of |M · acc|: {size:.1f} steps; 16 bits change {shares[bits.index(16)]:.4f} % of the codes")
print(f"the multiplier in binary: {multiplier:b}")

# %% [markdown]
# <details><summary>Answer, and what the dashed line is</summary>
#
# For codes of 8 bits, 16 bits of multiplier do; the other 15 cost a 32-bit processor nothing. The dashed line is what
# to expect at most. Rounding the multiplier to $n$ bits changes $M$ by a factor of at most $1 \pm 2^{-n}$, so it moves
# $M \cdot acc$ by at most $2^{-n} \cdot |M \cdot acc|$. A code changes where a halfway point lies in between, and a
# move of a tenth of a step meets one in about a tenth of all cases. Two more bits divide the share by four, in the long
# run. Where the multiplier happens to have a run of zeros or ones, the bits in it make no difference, and the curve
# pauses; at its right end it is down to single codes that happen to lie very near a halfway point.
#
# </details>

# %% [markdown]
# ## Recap
#
# - A product of codes is a sum of whole numbers; two scale factors wait outside. The zero points cost a row sum, a
#   column sum and a constant.
# - Sums need more bits than codes: `int32` for real layers, `int64` always, `float32` only up to $2^{24}$.
# - $M = \Delta_x \Delta_w / \Delta_y$ becomes a 31-bit whole number and a shift. Add half before you shift; without,
#   every result is half a step too low on average.
# - The bias is counted in accumulator steps, with 32 bits.
# - Padding is the zero point. ReLU is saturation, if the output's grid begins at 0.
#
# Three questions to finish. A few sentences each, with numbers where you can.

# %% [markdown]
# ### Question 1 (2 points): a dark frame
#
# A colleague pads the codes of an image with 0. The image was normalized to $[-1, 1]$ and quantized to 8 bits over
# this range. Which real number does the padding stand for? With which input range would the colleague never have
# noticed, and where in a network does it occur?

# %% [markdown] nbgrader={"grade_id": "why_pad_with_the_zero_point", "grade": true, "solution": true, "points": 2}
# **Model answer.** The step is $2/255$ and the zero point round(127.5) = 128. Code 0 then means $2/255 \cdot
# (0 - 128) = -1.004$, the lowest value of the range: a black frame instead of a grey one. It would not
# be noticed if the zero point were 0, that is for a range that begins at 0. This is so behind every ReLU, so in most
# inner layers of a network; the first layer, and layers behind an activation with negative values, show the mistake.
#
# *Marking: 1 point for the value (about −1, from the formula). 1 point for "zero point 0 / range begins at 0" and
# "behind a ReLU".*

# %% [markdown]
# ### Question 2 (2 points): a ReLU that does nothing
#
# The code of a published assignment (Purdue, *Computer Vision for Embedded Systems*) runs a quantized layer, and then
# calls `F.relu` on its result, a tensor of codes from 0 to 255. What does this call do to the codes? Why are the
# network's outputs right all the same? Describe a grid for the output with which they would be wrong.

# %% [markdown] nbgrader={"grade_id": "why_relu_is_saturation", "grade": true, "solution": true, "points": 2}
# **Model answer.** Nothing: no code is negative. The ReLU has already happened, in the saturation. The output's grid
# is the input grid of the next layer, whose inputs come out of a ReLU (and pooling), so its range begins at 0 and
# its zero point is 0. Negative real numbers would need codes below 0 and saturate at 0, which means 0.0 (thesis,
# section 2.3.4: ReLU folding). It goes wrong as soon as the output's grid contains negative values, for example a
# grid over the layer's output *before* ReLU, $[-3, 5]$ with zero point 96. Then code 50 means a negative number, and
# ReLU must be $\max(q, Z)$ with the zero point, not $\max(q, 0)$.
#
# *Marking: 1 point for "nothing, codes are not negative" with the reason that saturation at zero point 0 does the
# work. 1 point for a grid with a zero point above 0.*

# %% [markdown]
# ### Question 3 (2 points): half a step
#
# A chip's designer wants to save the addition before the shift (truncating instead of rounding division). Assume that
# the bits dropped are evenly spread. By which factor does the mean square error of this step grow, and how many dB
# are that? Which part of the error is worse than the number of dB says, and how could one repair it for free?

# %% [markdown] nbgrader={"grade_id": "why_round", "grade": true, "solution": true, "points": 2}
# **Model answer.** Rounded, the error is spread over $[-\tfrac12, \tfrac12]$: mean 0, mean square $1/12$. Dropped,
# over $(-1, 0]$: mean $-\tfrac12$, mean square $1/3$. That is a factor of 4, or 6.02 dB. Of the $1/3$ only $1/12$
# varies; $1/4$ is the square of the mean. This part is the same for every output, so it does not cancel in the next
# layer's sums: it adds up to minus half a step times the sum of the weights. Free repair: add the half to something
# that is added anyway. In accumulator steps half an output step is $1/(2M)$; put it into the bias code when the
# network is prepared, and truncate. (Equally: half of the next layer's input step times its weights' sum into the
# next bias.)
#
# *Marking: 1 point for 1/3 against 1/12, or factor 4, or 6 dB. 1 point for the systematic part that does not cancel,
# with or without the repair. Any sound idea for the repair counts; folding it into the bias is the best.*
