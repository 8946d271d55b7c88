# ---
# jupyter:
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
#   course:
#     title: Quantization helpers
#     minutes: 150
#     check_seconds: 5
#     withhold:
#       - course_utils.numerics
#       - course_utils.demos.staircase
#       - torchao
#       - gfloat
#       - onnxruntime
#       - onnx
#       - torch.ao.quantization.observer
#       - torch.ao.quantization.fake_quantize
#       - torch.ao.quantization.fx._decomposed
#       - torch.ao.ns.fx.utils.compute_sqnr
#       - torch._choose_qparams_per_tensor
#       - torch._fused_moving_avg_obs_fq_helper
#       - torch._refs.nn.functional.mse_loss
#       - torch._decomp.decompositions.mse_loss
#       - aten::_choose_qparams_per_tensor
#       - quantized_decomposed::dequantize_per_tensor
#       - quantized_decomposed::choose_qparams
#       - quantized_decomposed::choose_qparams_symmetric
#       - quantized_decomposed::quantize_per_tensor
#       - quantized_decomposed::quantize_per_channel
#       - quantized_decomposed::quantize_per_token
#       - quantized_decomposed::quantize_per_channel_group
#       - torch.nn.functional.mse_loss
#       - aten::mse_loss
#       - "@torch_fake_quantizers"
#       - "@torch_quantizers"
# ---

# %% [markdown]
# # Quantization helpers
#
# - **Goal:** write the seven small functions on which the rest of the course stands. They turn real numbers into
#   8-bit codes and back, and measure what was lost on the way.
# - **Afterwards** you can say what a scale factor and a zero point are, predict the error of a quantizer before you
#   run it, and explain why "per channel" and "stochastic rounding" exist.
# - **Time:** about two and a half hours. You need Python and a little torch, and no earlier lab.
#
# include: how_to_work.md
#
# Refused here: `course_utils.numerics`, torch's `quantize_...` and `fake_quantize_...` functions, and `mse_loss`.
#
# **Sources.** The lab rests on three documents. "The lecture" is Yung-Hsiang Lu's on static quantization in *Computer
# Vision for Embedded Systems* (Purdue); "the thesis" is *Quantization Profiler for Artificial Neural Networks* by
# Martin Lindström and Jakob Hök (Lund University, 2020), who measure in TensorFlow which layers of a network suffer;
# "the survey" is a lecture on quantization methods that quotes TensorFlow's documentation and *Ristretto*, a tool for
# the Caffe framework. Where one of them slips, the lab says so.

# %%
import math

import matplotlib.pyplot as plt
import numpy as np
import torch

from course_utils.pictures import COLOURS, channel_ranges, code_line, curves_by_bits, use_course_style

use_course_style()

# %%
# For the check cells only: nothing here is needed for your answers.
import numbers

from course_utils.checks import *


def slack(num_bits):
    """How far, in steps, rounding inside float32 arithmetic may move a value before it is rounded to a code.

    float32 keeps 24 significant bits. A code needs num_bits of them, and a division and an addition may each lose
    half a unit in the last place. At 8 bits that is 0.00006 steps: the checks allow it on top of half a step.
    """
    return 2.0 ** (num_bits - 22)


# %% [markdown]
# ## Idea
#
# A trained network is a pile of 32-bit floating point numbers. Most of them lie in a narrow range around zero, and
# the network does not care about their last digits. So we choose a range $[a, b]$, put a **uniform grid** over it,
# and store for each number only *which grid point* is nearest. With $n$ bits there are $2^n$ grid points, called
# **codes** $0, 1, \dots, 2^n - 1$. Two numbers describe the grid:
#
# $$
# \Delta = \frac{b - a}{2^n - 1}
# \qquad\qquad
# Z = \operatorname{round}\!\left(-\frac{a}{\Delta}\right)
# $$
#
# $\Delta$ is the **scale factor**: the distance between neighbouring grid points, in the unit of $x$. $Z$ is the
# **zero point**: the code that means 0. Then
#
# $$
# q = \operatorname{clamp}\!\left(\operatorname{round}\!\left(\frac{x}{\Delta}\right) + Z,\; 0,\; 2^n - 1\right)
# \qquad\text{and back}\qquad
# \hat{x} = \Delta \, (q - Z).
# $$
#
# (Thesis, equations 2.10 to 2.15; the lecture writes the way back as *Value = ScaleFactor × (Value8 −
# ZeroPoint)*.) Note the divisor: $2^n$ points have $2^n - 1$ gaps between them, like fence posts.
#
# **Why 0 must be on the grid.** Zero is not just any number. Padding is zero, ReLU makes zeros, pruned weights are
# zeros. If 0.0 came back as 0.003, every padded pixel would push every neuron a little, always in the same direction.
# So $Z$ is a *whole* number, and the range is **widened to contain 0** before $\Delta$ is computed: $a = \min(0,
# \text{smallest}),\; b = \max(0, \text{largest})$. The thesis says this in words ("which is required to contain the
# number 0"); equation 2.11 alone does not do it. Feed it the range $[2, 4]$ and it gives a $Z$ far below code 0.
#
# The picture shows 3 bits over $[-3, 6]$. Look for three things: equal steps; the bold code, which is the zero point
# and means exactly 0; and that the grid ends near, not exactly at, −3 and 6, because $Z$ was rounded.

# %% tags=["explore"]
step = (6 - -3) / (2**3 - 1)
zero = round(3 / step)
samples = [-3.0, -1.6, 0.0, 0.5, 2.0, 4.4, 6.0]
nearest = [min(max(round(v / step) + zero, 0), 7) for v in samples]

figure, axes = plt.subplots(figsize=(9, 2.9))
code_line(axes, samples, nearest, step, zero, num_bits=3)
axes.set_title(f"3 bits over [-3, 6]: scale factor {step:.3f}, zero point {zero}")
plt.show()

# %% [markdown]
# **How large is the error?** Nearest means nearest: inside the range no value moves by more than half a step,
#
# $$ |\hat{x} - x| \le \frac{\Delta}{2} \qquad \text{for } a \le x \le b . $$
#
# Rounding $Z$ moves the whole grid by at most half a step, so this holds at the ends of the range, too.
#
# Outside the range values **saturate**: they get the first or last code, and the error grows without bound. So a wide
# range makes coarse steps, and a narrow range cuts. Every calibration method you will meet later is a compromise
# between these two.
#
# **Pseudo-quantization.** In this lab a code is a whole number stored in a `float32` tensor. That wastes memory on
# purpose: the arithmetic is that of real 8-bit inference, and you can look at every step with ordinary torch.

# %% [markdown]
# ## Exercise 1: quantize a tensor
#
# A worked example by hand. Take 8 bits and the range $[-3, 6]$:
#
# - scale factor $\Delta = 9 / 255 = 0.035294\ldots$
# - zero point $Z = \operatorname{round}(3 / \Delta) = \operatorname{round}(85.0) = 85$
# - the value 2.0: $2 / \Delta = 56.67$, rounded 57, plus 85 is code **142**
# - back: $\Delta \cdot (142 - 85) = 2.0118$. The error is 0.0118, less than $\Delta / 2 = 0.0176$.
#
# A few things that a quantizer must decide. They stand in the docstring, because a function that meets real data will
# meet all of them:
#
# - **Numbers, not tensors.** `q` is a tensor, but `scalefactor` and `zeropoint` are a plain `float` and `int`:
#   `x.min().item()` makes a Python number of a one-element tensor.
# - **Rounding.** `torch.round` sends a value exactly halfway to the even neighbour. Halfway cases may go either way
#   here; all others must go to the nearest. Divide by the scale factor, do not multiply by its reciprocal:
#   `1 / scalefactor` is itself rounded, and now and then a value close to a halfway point lands on its wrong side.
# - **A range of width 0.** After widening this happens only if everything is 0. Any scale factor will do then; we
#   take 1.0, so that nothing is ever divided by 0.
# - **NaN and infinity.** There is no code for NaN, and no finite step covers an infinite range. Refuse with a
#   `ValueError` that says why. But with a *given* range an infinite value just saturates.


# %% nbgrader={"grade_id": "quantize_tensor", "solution": true}
def quantize_tensor(x, min_val=None, max_val=None, num_bits=8):
    """Maps real numbers to codes 0 .. 2^num_bits - 1 on a uniform grid that contains 0.

    The range is [min_val, max_val], where None means the minimum or maximum of x, and then widened to contain 0.

    Args:
        x: tensor of any shape, float16, float32 or float64. It is not changed. Compute in float32 or better.
        min_val, max_val: numbers or None. Values of x outside the range saturate, infinite ones too.
        num_bits: whole number from 1 to 16.

    Returns:
        A tuple (q, scalefactor, zeropoint):
        q: float32 tensor of x's shape that holds whole numbers from 0 to 2^num_bits - 1.
        scalefactor: Python float, the step, in the unit of x; 1.0 if the range has width 0.
        zeropoint: Python int from 0 to 2^num_bits - 1, the code of 0.0.

    Raises:
        ValueError: if num_bits is not in 1 .. 16; if x contains NaN; if a bound has to be taken from x and x is empty;
            if a bound is NaN or infinite, given or taken from x; if min_val, as given or taken from x, is greater than
            max_val (compared before the range is widened).
    """
    ### BEGIN SOLUTION
    if not 1 <= num_bits <= 16:
        raise ValueError(f"num_bits must lie in 1..16, not {num_bits}")
    x = x.float()
    if x.isnan().any():
        raise ValueError("x contains NaN, for which there is no code")
    if x.numel() == 0 and (min_val is None or max_val is None):
        raise ValueError("an empty tensor has no range: give min_val and max_val")
    low = x.min().item() if min_val is None else float(min_val)
    high = x.max().item() if max_val is None else float(max_val)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"the range [{low}, {high}] is not finite")
    if low > high:
        raise ValueError(f"min_val {low} is greater than max_val {high}")

    low, high = min(low, 0.0), max(high, 0.0)  # 0 must be on the grid
    levels = 2**num_bits - 1
    scalefactor = (high - low) / levels or 1.0
    zeropoint = min(max(round(-low / scalefactor), 0), levels)
    q = torch.clamp(torch.round(x / scalefactor) + zeropoint, 0, levels)
    return q, scalefactor, zeropoint
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_quantize_tensor", "grade": true, "points": 4}
with check("quantize_tensor"):
    x = torch.tensor([-3.0, -1.0, 0.0, 2.0, 6.0])
    result = quantize_tensor(x)
    expect(
        isinstance(result, tuple) and len(result) == 3,
        "the result is a tuple (q, scalefactor, zeropoint)",
        got=result,
        hint="return three things in this order, separated by commas",
    )
    q, scalefactor, zeropoint = result
    expect_close(
        scalefactor,
        9 / 255,
        "scalefactor is the width of the range divided by 2^num_bits - 1",
        within=9 / 255 * 2**-20,
        given="range [-3, 6], 8 bits",
        hint="256 codes have 255 gaps between them",
    )
    expect_equal(
        zeropoint,
        85,
        "zeropoint is the code of 0.0: round(-min / scalefactor)",
        given="range [-3, 6], 8 bits",
        hint="mind the sign: the further the range reaches below 0, the larger the code of 0",
    )
    expect(
        isinstance(scalefactor, numbers.Real) and isinstance(zeropoint, numbers.Integral),
        "scalefactor is a Python float and zeropoint a Python int",
        got=f"{type(scalefactor).__name__}, {type(zeropoint).__name__}",
        hint="a one-element tensor becomes a number by .item(); round() of a Python float is an int",
    )
    expect(
        isinstance(q, torch.Tensor) and q.dtype == torch.float32,
        "q is a float32 tensor",
        got=getattr(q, "dtype", type(q).__name__),
        hint="keep the codes in floats here; q.float() converts",
    )
    expect_equal(
        q,
        [0, 57, 85, 142, 255],
        "a code is round(x / scalefactor) + zeropoint",
        given=x,
        hint="divide, round to nearest, then add the zero point",
    )
    q, _, _ = quantize_tensor(torch.tensor([-100.0, -3.5, 6.5, 100.0]), -3.0, 6.0)
    expect_equal(
        q,
        [0, 0, 255, 255],
        "a value outside the range saturates at code 0 or 2^num_bits - 1",
        given=torch.tensor([-100.0, -3.5, 6.5, 100.0]),
        hint="torch.clamp, after the zero point was added",
    )
    x = torch.tensor([1.0, 5.0])
    q, scalefactor, zeropoint = quantize_tensor(x, num_bits=4)
    rule = "the range is widened to contain 0"
    facts = "x = [1, 5], 4 bits, so the range is [0, 5]"
    hint = "the smaller of min and 0, the larger of max and 0"
    expect_close(scalefactor, 5 / 15, rule, within=5 / 15 * 2**-20, given=f"{facts}; scalefactor", hint=hint)
    expect_equal(zeropoint, 0, rule, given=f"{facts}; zeropoint", hint=hint)
    ### BEGIN HIDDEN TESTS
    g = generator()
    for num_bits in (1, 2, 3, 5, 8, 12, 16):
        levels = 2**num_bits - 1
        for shift in (0.0, 4.0, -4.0, 15.0, -15.0):
            x = torch.randn(3, 5, 20, generator=g) * 3 + shift
            before = x.clone()
            q, scalefactor, zeropoint = quantize_tensor(x, num_bits=num_bits)
            expect_equal(x, before, "x itself is not changed", hint="avoid methods that end in _, such as clamp_")
            low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
            facts = f"range [{low:.6g}, {high:.6g}], {num_bits} bits"
            expect_close(
                scalefactor,
                (high - low) / levels,
                "scalefactor is the width of the range divided by 2^num_bits - 1",
                within=(high - low) / levels * 2**-20,
                given=facts,
                hint="widen the range first; use num_bits, not a fixed 8",
            )
            expect_close(
                zeropoint,
                -low / scalefactor,
                "zeropoint is the whole number nearest to -min / scalefactor",
                within=0.5 + slack(num_bits),
                given=facts,
                hint="rounded, neither cut off nor rounded up",
            )
            expect_equal(
                q,
                q.double().round().clamp(0, levels),
                "codes are whole numbers from 0 to 2^num_bits - 1",
                given=x,
                hint="round before adding the zero point, clamp last",
            )
            expect_close(
                scalefactor * (q.double() - zeropoint),
                x,
                "a value inside the range comes back within half a step",
                within=scalefactor * (0.5 + slack(num_bits)),
                given=x,
                hint="round to nearest, with the very same scalefactor and zeropoint that you return",
            )
    for num_bits in (2, 6, 8, 16):
        x = (torch.randn(500, generator=g) * 2 + 1).sort().values
        q, scalefactor, zeropoint = quantize_tensor(x, -1.7, 3.1, num_bits)
        expect_close(
            scalefactor,
            4.8 / (2**num_bits - 1),
            "min_val and max_val, where given, replace the data's own",
            within=4.8 / (2**num_bits - 1) * 2**-20,
            given=f"min_val=-1.7, max_val=3.1, {num_bits} bits",
            hint="take x.min() only where min_val is None",
        )
        expect_close(
            q,
            (x.double() / scalefactor + zeropoint).clamp(0, 2**num_bits - 1),
            "every value gets the nearest code there is",
            within=0.5 + slack(num_bits),
            given=x,
            hint="saturation belongs at the first and last code, nowhere else",
        )
        expect(
            (q.diff() >= 0).all(),
            "a larger value never gets a smaller code",
            hint="codes that overflow wrap around; clamp before any conversion to a small integer type",
        )
        back = (scalefactor * (q.double() - zeropoint)).float()
        again, _, _ = quantize_tensor(back, -1.7, 3.1, num_bits)
        expect_equal(
            again,
            q,
            "quantizing the dequantized values again gives the same codes",
            given=q,
            hint="grid points must be mapped to themselves",
        )
    x = torch.randn(200, generator=g)
    for bounds, low, high in (
        ((0.0, 2.0), 0.0, 2.0),
        ((-2.0, 0.0), -2.0, 0.0),
        ((-9.0, None), -9.0, float(x.max())),
        ((None, 9.0), float(x.min()), 9.0),
    ):
        _, scalefactor, _ = quantize_tensor(x, *bounds)
        expect_close(
            scalefactor,
            (high - low) / 255,
            "a bound counts as given unless it is None; 0.0 is a bound",
            within=(high - low) / 255 * 2**-20,
            given=f"min_val={bounds[0]}, max_val={bounds[1]}",
            hint="write `if min_val is None`; both 0.0 and None count as false in `if min_val`",
        )
    ### END HIDDEN TESTS

# %% [markdown]
# The second check tries two of the unusual inputs. The grader tries every one that the docstring names: each *Raises*
# line, empty tensors, float16 and float64. It has points of its own, so do not let it hold you up.

# %% nbgrader={"grade_id": "check_quantize_tensor_edges", "grade": true, "points": 2}
with check("quantize_tensor"):
    rule = "a range of width 0 gives scalefactor 1.0, zeropoint 0 and codes 0"
    hint = "after widening only all-zero data has width 0; do not divide by that"
    q, scalefactor, zeropoint = expect_returns(lambda: quantize_tensor(torch.zeros(2, 3)), rule, hint=hint)
    expect_equal(scalefactor, 1.0, rule, given="x all zeros; scalefactor", hint=hint)
    expect_equal(zeropoint, 0, rule, given="x all zeros; zeropoint", hint=hint)
    expect_equal(q, torch.zeros(2, 3), rule, given="x all zeros; q", hint=hint)
    expect_raises(
        ValueError,
        lambda: quantize_tensor(torch.tensor([1.0, math.nan])),
        "NaN is refused with a ValueError",
        given=[1.0, math.nan],
        hint="x.isnan().any()",
    )
    ### BEGIN HIDDEN TESTS
    g = generator()
    for bounds in ((), (-1.0, 1.0)):
        expect_raises(
            ValueError,
            lambda bounds=bounds: quantize_tensor(torch.tensor([[0.5], [math.nan]]), *bounds),
            "NaN is refused with a ValueError",
            given=f"x with a NaN, range {bounds or 'from x'}",
            hint="look at x itself: a given range does not help NaN",
        )
    rule = "an empty x needs both bounds: without them a ValueError, with them an empty q"
    for bounds in ((), (-1.0, None), (None, 1.0)):
        expect_raises(
            ValueError,
            lambda bounds=bounds: quantize_tensor(torch.zeros(0, 4), *bounds),
            rule,
            given=f"shape (0, 4), bounds {bounds}",
            hint="x.numel() == 0; x.min() of nothing is a RuntimeError",
        )
    q, _, zeropoint = expect_returns(
        lambda: quantize_tensor(torch.zeros(0, 4), -3.0, 6.0), rule, hint="the range is known, so nothing is missing"
    )
    expect_equal(q, torch.zeros(0, 4), rule, hint="q has x's shape")
    expect_equal(zeropoint, 85, rule, given="empty x, range [-3, 6]", hint="the range alone decides the zero point")
    rule = "a bound that is infinite or NaN is refused with a ValueError"
    for bad in (math.inf, -math.inf, math.nan):
        for call in (
            lambda bad=bad: quantize_tensor(torch.tensor([0.0, 1.0]), min_val=bad),
            lambda bad=bad: quantize_tensor(torch.tensor([0.0, 1.0]), max_val=bad),
            lambda bad=bad: quantize_tensor(torch.tensor([0.0, bad])),
        ):
            expect_raises(ValueError, call, rule, given=f"a bound or a value {bad}", hint="math.isfinite")
    x = torch.tensor([-math.inf, 0.0, math.inf])
    expect_equal(
        expect_returns(
            lambda: quantize_tensor(x, -3.0, 6.0)[0],
            "an infinite value saturates if the range is given",
            given=x,
            hint="refuse infinite bounds, not infinite values",
        ),
        [0, 85, 255],
        "an infinite value saturates if the range is given",
        given=x,
        hint="torch.clamp does it by itself",
    )
    rule = "min_val greater than max_val is refused with a ValueError"
    for low, high in ((1.0, -1.0), (3.0, 2.0), (-2.0, -3.0)):
        expect_raises(
            ValueError,
            lambda low=low, high=high: quantize_tensor(torch.tensor([0.0, 1.0]), low, high),
            rule,
            given=f"min_val={low}, max_val={high}",
            hint="compare before you widen the range: widening can hide the mistake",
        )
    rule = "num_bits outside 1 .. 16 is refused with a ValueError"
    for num_bits in (0, -1, 17, 32):
        expect_raises(
            ValueError,
            lambda num_bits=num_bits: quantize_tensor(torch.tensor([0.0, 1.0]), num_bits=num_bits),
            rule,
            given=f"num_bits={num_bits}",
            hint="test it first of all",
        )
    for dtype in (torch.float16, torch.float64):
        x = (torch.randn(800, generator=g) * 2).to(dtype)
        q, scalefactor, zeropoint = quantize_tensor(x)
        rule = "float16 and float64 input gives float32 codes, computed in float32 or better"
        expect(q.dtype == torch.float32, rule, given=dtype, expected=torch.float32, got=q.dtype, hint="x = x.float()")
        expect_close(
            scalefactor * (q.double() - zeropoint),
            x,
            rule,
            within=scalefactor * (0.5 + slack(8)),
            given=x,
            hint="convert first: float16 has 11 significant bits, too few for x / scalefactor",
        )
    for constant in (3.5, -0.7, 1e-30, -1e30):
        x = torch.full((4,), constant)
        q, scalefactor, zeropoint = quantize_tensor(x)
        expect_close(
            scalefactor * (q.double() - zeropoint),
            x,
            "a constant tensor is an ordinary one: its range reaches from 0 to the constant",
            within=abs(constant) * 2**-20,
            given=x,
            hint="only the width of the widened range decides; no threshold like 1e-8",
        )
    q, scalefactor, zeropoint = quantize_tensor(torch.tensor(2.5))
    expect_equal(
        q,
        torch.tensor(255.0),
        "x may have any shape, a single number too",
        given="tensor(2.5)",
        hint="no loops over dim 0",
    )
    ### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 2: and back
#
# $$ \hat{x} = \Delta \, (q - Z) $$
#
# With $\Delta = 9/255$ and $Z = 85$: code 142 means $0.035294 \cdot 57 = 2.0118$, code 85 means exactly 0.0.
#
# One line, with one trap. On real hardware codes are stored as `uint8`. In torch
# `torch.tensor([10], dtype=torch.uint8) - 85` is not −75 but **181**: unsigned bytes wrap around. Convert before you
# subtract.
#
# Write it so that `scalefactor` and `zeropoint` may also be tensors that broadcast against `q`. You will want this
# for exercise 4, where each channel has its own.


# %% nbgrader={"grade_id": "dequantize_tensor", "solution": true}
def dequantize_tensor(q, scalefactor, zeropoint):
    """Turns codes back into real numbers: scalefactor * (q - zeropoint).

    Args:
        q: tensor of whole numbers of any shape; float32, uint8, int8, int16, int32 or int64. It is not changed.
        scalefactor: a number, or a tensor that broadcasts against q.
        zeropoint: a number, or a tensor that broadcasts against q.

    Returns:
        float32 tensor of q's shape. The code zeropoint gives exactly 0.0.
    """
    ### BEGIN SOLUTION
    return (scalefactor * (q.float() - zeropoint)).float()
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_dequantize_tensor", "grade": true, "points": 2}
with check("dequantize_tensor"):
    q = torch.tensor([0.0, 57.0, 85.0, 142.0, 255.0])
    x = dequantize_tensor(q, 9 / 255, 85)
    expect_equal(q, [0, 57, 85, 142, 255], "q itself is not changed", hint="avoid -= and methods that end in _ on q")
    expect(
        isinstance(x, torch.Tensor) and x.dtype == torch.float32,
        "the result is a float32 tensor",
        got=getattr(x, "dtype", type(x).__name__),
        hint="q.float() converts",
    )
    expect_close(
        x,
        9 / 255 * (q.double() - 85),
        "a code q means scalefactor * (q - zeropoint)",
        within=9 / 255 * 255 * 2**-22,
        given=q,
        hint="subtract first, then multiply",
    )
    expect_equal(
        x[2],
        0.0,
        "the zero point means exactly 0.0",
        given="q = zeropoint = 85",
        hint="subtract before you multiply",
    )
    ### BEGIN HIDDEN TESTS
    g = generator()
    for num_bits in (1, 4, 8, 16):
        levels = 2**num_bits - 1
        q = torch.randint(0, levels + 1, (4, 3, 25), generator=g).float()
        before = q.clone()
        for _ in range(5):
            scalefactor = float(torch.rand((), generator=g, dtype=torch.float64) * 3 + 1e-3)
            zeropoint = int(torch.randint(0, levels + 1, (), generator=g))
            x = dequantize_tensor(q, scalefactor, zeropoint)
            expect_equal(q, before, "q itself is not changed", hint="avoid -= and methods that end in _ on q")
            expect_close(
                x,
                scalefactor * (q.double() - zeropoint),
                "a code q means scalefactor * (q - zeropoint)",
                within=scalefactor * levels * 2**-22,
                given=q,
                hint=f"this was scalefactor {scalefactor:.6g}, zeropoint {zeropoint}",
            )
            expect_equal(
                dequantize_tensor(torch.full((3,), float(zeropoint)), scalefactor, zeropoint),
                torch.zeros(3),
                "the zero point means exactly 0.0",
                given=f"q = zeropoint = {zeropoint}",
                hint="subtract before you multiply",
            )
    ### END HIDDEN TESTS

# %% nbgrader={"grade_id": "check_dequantize_tensor_edges", "grade": true, "points": 1}
with check("dequantize_tensor"):
    q = torch.tensor([10, 85, 255], dtype=torch.uint8)
    expect_close(
        dequantize_tensor(q, 0.5, 85),
        [-37.5, 0.0, 85.0],
        "integer codes are converted before the subtraction",
        within=1e-4,
        given=q,
        hint="uint8 wraps around: 10 - 85 gives 181",
    )
    ### BEGIN HIDDEN TESTS
    g = generator()
    for dtype, low, high in (
        (torch.uint8, 0, 255),
        (torch.int8, -128, 127),
        (torch.int16, 0, 32767),
        (torch.int32, 0, 65535),
        (torch.int64, 0, 65535),
    ):
        q = torch.randint(low, high + 1, (60,), generator=g).to(dtype)
        for zeropoint in (0, 100, high):
            back = dequantize_tensor(q, 0.25, zeropoint)
            expect_close(
                back,
                0.25 * (q.double() - zeropoint),
                "integer codes are converted before the subtraction",
                within=0.25 * high * 2**-20,
                given=q,
                hint=f"this was {dtype} with zeropoint {zeropoint}",
            )
            expect(
                back.dtype == torch.float32,
                "the result is a float32 tensor",
                given=dtype,
                got=back.dtype,
                hint="q.float() converts",
            )
    q = torch.randint(0, 256, (3, 4, 5), generator=g).float()
    for shape in ((3, 1, 1), (1, 4, 1), (1, 1, 5)):
        scalefactor = torch.rand(shape, generator=g) + 0.1
        zeropoint = torch.randint(0, 256, shape, generator=g).float()
        rule = "scalefactor and zeropoint may be tensors that broadcast against q"
        hint = "leave the broadcasting to torch; float(...) or .item() takes single numbers only"
        x = expect_returns(lambda q=q, s=scalefactor, z=zeropoint: dequantize_tensor(q, s, z), rule, hint=hint)
        expect_close(
            x,
            scalefactor.double() * (q.double() - zeropoint.double()),
            rule,
            within=1.1 * 255 * 2**-22,
            given=q,
            hint=hint,
        )
    expect_equal(
        dequantize_tensor(torch.zeros(0, 2), 0.1, 3),
        torch.zeros(0, 2),
        "empty codes give an empty result",
        hint="q's shape stays",
    )
    ### END HIDDEN TESTS

# %% [markdown]
# ## Explore: the staircase
#
# Now play with what you wrote. The demo calls *your* `quantize_tensor` and `dequantize_tensor`. Above is the map from
# $x$ to $\hat{x}$, in the middle the error with the band $\pm\Delta/2$, below a histogram of the data and of where
# quantization puts it. The dotted lines mark the range.
#
# Try to answer before you move a slider:
#
# 1. What happens to the height of the band if you add one bit?
# 2. The data reach from about −3 to 6. Pull `max_val` down to 2. Which values suffer, which ones gain?
# 3. At 3 bits, is there a range that gives a better SQNR (signal-to-noise ratio, exercise 6) than $[-3, 6]$? Why?
#
# The sliders work with the mouse and with the arrow keys.
#
# <details><summary>Answers</summary>
#
# 1. It nearly halves: 2ⁿ − 1 gaps become 2ⁿ⁺¹ − 1.
# 2. All values above 2 are cut to about 2 and suffer; everything between −3 and 2 gains, because the steps are 5/9 as
#    wide.
# 3. Yes. Values near the ends are rare, so cutting them costs little, and the finer steps serve all others. Watch the
#    SQNR in the line of numbers while you pull the ends in: it rises, has a best place, and falls.
#
# </details>

# %% tags=["explore"]
from course_utils.demos import staircase_demo, staircase_still

activations = torch.randn(4000, generator=torch.Generator().manual_seed(0)).mul(1.4).add(1.0).clamp(-3, 6)
staircase_demo(quantize_tensor, dequantize_tensor, activations)

# %% [markdown]
# No sliders to be seen (on paper, in a viewer)? Here are three settings side by side. From left to right: 3 bits over
# the whole range; 5 bits over the same range, 7/31 of the step; 3 bits again, but over $[-1, 3]$: fine steps
# inside, large errors outside.

# %% tags=["explore"]
staircase_still(quantize_tensor, dequantize_tensor, activations, [(-3, 6, 3), (-3, 6, 5), (-1, 3, 3)])

# %% [markdown]
# ## Exercise 3: symmetric quantization
#
# Weights usually spread evenly around 0. For them one chooses the grid symmetric: $Z = 0$, codes with a sign, and
#
# $$ \Delta = \frac{\max |x|}{2^{n-1} - 1}, \qquad q = \operatorname{round}\!\left(\frac{x}{\Delta}\right)
# \in \{-(2^{n-1} - 1), \dots, 2^{n-1} - 1\} . $$
#
# If the weights have zero point 0, two of the four sums in a quantized matrix product vanish (lab 3). The price: for
# one-sided data, such as the output of a ReLU, half of the codes are never used.
#
# By hand, 8 bits, $x = (-2.54,\ 0.333)$: $\Delta = 2.54 / 127 = 0.02$, and the codes are $-127$ and
# $\operatorname{round}(16.65) = 17$.
#
# A signed byte can also hold −128. We leave it unused, so that $-x$ always gets the code $-q$. (With the thesis'
# equation 2.14 the code −128 is allowed; both conventions are in use. You meet the difference again below.)


# %% nbgrader={"grade_id": "quantize_symmetric", "solution": true}
def quantize_symmetric(x, num_bits=8):
    """Maps real numbers to signed codes with zero point 0.

    Args:
        x: tensor of any shape, float16, float32 or float64. It is not changed. Compute in float32 or better.
        num_bits: whole number from 2 to 16. (With 1 bit no code but 0 would be left.)

    Returns:
        A tuple (q, scalefactor, zeropoint), so that dequantize_tensor takes it as it is:
        q: float32 tensor of x's shape, whole numbers from -(2^(num_bits-1) - 1) to 2^(num_bits-1) - 1.
        scalefactor: Python float, max|x| / (2^(num_bits-1) - 1); 1.0 if x is all zeros.
        zeropoint: the int 0.

    Raises:
        ValueError: if num_bits is not in 2 .. 16, or x is empty or contains NaN or infinity.
    """
    ### BEGIN SOLUTION
    if not 2 <= num_bits <= 16:
        raise ValueError(f"num_bits must lie in 2..16, not {num_bits}")
    x = x.float()
    if x.numel() == 0 or not x.isfinite().all():
        raise ValueError("x must hold at least one number, and only finite ones")
    levels = 2 ** (num_bits - 1) - 1
    scalefactor = x.abs().max().item() / levels or 1.0
    q = torch.clamp(torch.round(x / scalefactor), -levels, levels)
    return q, scalefactor, 0
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_quantize_symmetric", "grade": true, "points": 3}
with check("quantize_symmetric"):
    x = torch.tensor([-2.54, -0.5, 0.0, 0.333, 1.0])
    result = quantize_symmetric(x)
    expect(
        isinstance(result, tuple) and len(result) == 3,
        "the result is a tuple (q, scalefactor, zeropoint)",
        got=result,
        hint="return three things in this order; the last one is simply 0",
    )
    q, scalefactor, zeropoint = result
    expect_close(
        scalefactor,
        0.02,
        "scalefactor is max|x| / (2^(num_bits-1) - 1)",
        within=0.02 * 2**-20,
        given=x,
        hint="127 steps on each side at 8 bits, and the largest value by size, whatever its sign",
    )
    expect_equal(zeropoint, 0, "zeropoint is 0", hint="codes carry a sign here, so nothing is added")
    expect(
        isinstance(scalefactor, numbers.Real) and isinstance(q, torch.Tensor) and q.dtype == torch.float32,
        "q is a float32 tensor and scalefactor a Python float",
        got=f"{getattr(q, 'dtype', type(q).__name__)}, {type(scalefactor).__name__}",
        hint=".item() turns a one-element tensor into a number",
    )
    expect_equal(
        q, [-127, -25, 0, 17, 50], "a code is round(x / scalefactor), with its sign", given=x, hint="round to nearest"
    )
    ### BEGIN HIDDEN TESTS
    g = generator()
    for num_bits in (2, 3, 4, 8, 12, 16):
        levels = 2 ** (num_bits - 1) - 1
        for shift in (0.0, 3.0, -3.0, 20.0, -20.0):
            x = torch.randn(4, 50, generator=g) * 2 + shift
            before = x.clone()
            q, scalefactor, _ = quantize_symmetric(x, num_bits)
            expect_equal(x, before, "x itself is not changed", hint="avoid methods that end in _, such as abs_")
            expected = float(x.abs().max()) / levels
            expect_close(
                scalefactor,
                expected,
                "scalefactor is max|x| / (2^(num_bits-1) - 1)",
                within=expected * 2**-20,
                given=f"x from {float(x.min()):.6g} to {float(x.max()):.6g}, {num_bits} bits",
                hint="the largest absolute value, and num_bits as given",
            )
            expect_equal(
                q,
                q.double().round().clamp(-levels, levels),
                "codes are whole numbers from -(2^(num_bits-1) - 1) to 2^(num_bits-1) - 1",
                given=x,
                hint="a signed range, as wide to the left as to the right",
            )
            expect_close(
                scalefactor * q.double(),
                x,
                "every value comes back within half a step",
                within=scalefactor * (0.5 + slack(num_bits)),
                given=x,
                hint="round to nearest; negative values too",
            )
            expect_equal(
                quantize_symmetric(-x, num_bits)[0],
                -q,
                "-x gets the codes -q",
                given=x,
                hint="the grid is symmetric about 0",
            )
    ### END HIDDEN TESTS

# %% nbgrader={"grade_id": "check_quantize_symmetric_edges", "grade": true, "points": 1}
with check("quantize_symmetric"):
    rule = "an all-zero x gives scalefactor 1.0 and codes 0"
    hint = "max|x| is 0 here; do not divide by it"
    q, scalefactor, _ = expect_returns(lambda: quantize_symmetric(torch.zeros(3)), rule, hint=hint)
    expect_equal(scalefactor, 1.0, rule, given="x all zeros", hint=hint)
    expect_equal(q, torch.zeros(3), rule, given="x all zeros", hint=hint)
    ### BEGIN HIDDEN TESTS
    g = generator()
    for num_bits in (1, 0, -3, 17):
        expect_raises(
            ValueError,
            lambda num_bits=num_bits: quantize_symmetric(torch.tensor([0.5, -1.0]), num_bits),
            "num_bits outside 2 .. 16 is refused with a ValueError",
            given=f"num_bits={num_bits}",
            hint="with 1 bit, 2^(num_bits-1) - 1 is 0",
        )
    for bad in ([1.0, math.nan], [math.inf, 0.0], [0.0, -math.inf], []):
        expect_raises(
            ValueError,
            lambda bad=bad: quantize_symmetric(torch.tensor(bad)),
            "an x that is empty or has NaN or infinity is refused with a ValueError",
            given=bad,
            hint="x.numel() and x.isfinite().all()",
        )
    for dtype in (torch.float16, torch.float64):
        x = (torch.randn(800, generator=g) * 2).to(dtype)
        q, scalefactor, _ = quantize_symmetric(x)
        rule = "float16 and float64 input gives float32 codes, computed in float32 or better"
        expect(q.dtype == torch.float32, rule, given=dtype, expected=torch.float32, got=q.dtype, hint="x = x.float()")
        expect_close(
            scalefactor * q.double(),
            x,
            rule,
            within=scalefactor * (0.5 + slack(8)),
            given=x,
            hint="convert first: float16 has 11 significant bits, too few for x / scalefactor",
        )
    for constant in (-1e-30, 1e30):
        x = torch.full((2, 2), constant)
        q, scalefactor, _ = quantize_symmetric(x)
        expect_close(
            scalefactor * q.double(),
            x,
            "very small and very large values are ordinary ones",
            within=abs(constant) * 2**-20,
            given=x,
            hint="no threshold like 1e-8 for the largest value",
        )
    ### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 4: one grid per channel
#
# The output channels of a layer often differ a lot in size. One range for the whole weight tensor must cover the
# largest channel, and the small ones get only a few codes. So give every channel $c$ a scale factor $\Delta_c$ and a
# zero point $Z_c$ of its own (Lund thesis, section 2.3.3). That costs two extra numbers per channel and nothing else.
#
# Any dimension may count the channels: the first one in a layer's weights, another one elsewhere. Negative numbers
# count from the end, as in torch: of four dimensions, −3 is the same as 1. In a tensor with one dimension every
# element is a channel of its own.
#
# By hand, 4 bits (15 steps), two channels of three weights:
#
# | channel | weights | range | $\Delta_c$ | $Z_c$ | codes |
# |---|---|---|---|---|---|
# | 0 | −1, 0.5, 3 | $[-1, 3]$ | $4/15$ | $\operatorname{round}(3.75) = 4$ | 0, 6, 15 |
# | 1 | −0.02, 0, 0.01 | $[-0.02, 0.01]$ | 0.002 | 10 | 0, 10, 15 |
#
# With the grid of channel 0, all of channel 1 would have become code 4: three zeros.
#
# The scale factors come as a tensor that has `w`'s number of dimensions, its size along `axis`, and size 1 elsewhere.
# For a convolution's weight of shape (16, 3, 5, 5) and `axis=0` that is (16, 1, 1, 1). Such a tensor broadcasts, so
# `w / scalefactors` needs no loop, and `dequantize_tensor` works unchanged.


# %% nbgrader={"grade_id": "quantize_per_channel", "solution": true}
def quantize_per_channel(w, axis=0, num_bits=8):
    """Quantizes every slice of w along axis on a grid of its own, by the rules of quantize_tensor.

    A channel's range is that of its values, widened to contain 0.

    Args:
        w: tensor with at least one dimension, float16, float32 or float64. Not changed. Compute in float32 or better.
        axis: the dimension that counts the channels, from -w.dim() to w.dim() - 1.
        num_bits: whole number from 1 to 16.

    Returns:
        A tuple (q, scalefactors, zeropoints):
        q: float32 tensor of w's shape, whole numbers from 0 to 2^num_bits - 1.
        scalefactors: float32 tensor, size w.shape[axis] along axis and size 1 along every other dimension; 1.0 for a
            channel that is all zeros.
        zeropoints: tensor of whole numbers, of scalefactors' shape.

    Raises:
        ValueError: if num_bits is not in 1 .. 16, or w is empty or contains NaN or infinity.
    """
    ### BEGIN SOLUTION
    if not 1 <= num_bits <= 16:
        raise ValueError(f"num_bits must lie in 1..16, not {num_bits}")
    w = w.float()
    if w.numel() == 0 or not w.isfinite().all():
        raise ValueError("w must hold at least one number, and only finite ones")
    rows = w.movedim(axis, 0).reshape(w.shape[axis], -1)  # one row per channel
    shape = [1] * w.dim()
    shape[axis] = w.shape[axis]
    low = rows.amin(dim=1).clamp(max=0).reshape(shape)
    high = rows.amax(dim=1).clamp(min=0).reshape(shape)

    levels = 2**num_bits - 1
    scalefactors = (high - low) / levels
    scalefactors = torch.where(scalefactors == 0, 1.0, scalefactors)
    zeropoints = torch.round(-low / scalefactors).clamp(0, levels)
    q = torch.clamp(torch.round(w / scalefactors) + zeropoints, 0, levels)
    return q, scalefactors, zeropoints
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_quantize_per_channel", "grade": true, "points": 4}
with check("quantize_per_channel"):
    w = torch.tensor([[-1.0, 0.5, 3.0], [-0.02, 0.0, 0.01]])
    result = quantize_per_channel(w, axis=0, num_bits=4)
    expect(
        isinstance(result, tuple) and len(result) == 3 and all(isinstance(r, torch.Tensor) for r in result),
        "the result is a tuple of three tensors (q, scalefactors, zeropoints)",
        got=result,
        hint="return three tensors in this order, separated by commas",
    )
    q, scalefactors, zeropoints = result
    expect(
        scalefactors.shape == (2, 1) and zeropoints.shape == (2, 1),
        "scalefactors and zeropoints have size 1 along every dimension but axis",
        given="w of shape (2, 3), axis 0",
        expected="shapes (2, 1) and (2, 1)",
        got=f"shapes {tuple(scalefactors.shape)} and {tuple(zeropoints.shape)}",
        hint="reshape, or reduce with keepdim=True",
    )
    expect_close(
        scalefactors,
        [[4 / 15], [0.002]],
        "each channel has the scale factor of its own range",
        within=torch.tensor([[4 / 15], [0.002]]) * 2**-20,
        given="channels [-1, 0.5, 3] and [-0.02, 0, 0.01], 4 bits",
        hint="minimum and maximum over all dimensions except axis",
    )
    expect_equal(
        zeropoints,
        [[4], [10]],
        "each channel has the zero point of its own range",
        given="channels [-1, 0.5, 3] and [-0.02, 0, 0.01], 4 bits",
        hint="round(-min / scalefactor), channel by channel",
    )
    expect_equal(
        q, [[0, 6, 15], [0, 10, 15]], "each channel is coded on its own grid", given=w, hint="let the shapes broadcast"
    )
    rule = "axis says which dimension counts the channels, from the end if negative"
    hint = "axis % w.dim() makes a negative axis positive; then reduce over all the other dimensions"
    for axis in (1, -3):
        facts = f"w of shape (4, 2, 3, 3), axis {axis}"
        codes = expect_returns(lambda axis=axis: quantize_per_channel(torch.ones(4, 2, 3, 3), axis), rule, given=facts)
        got = f"shapes {tuple(codes[1].shape)} and {tuple(codes[2].shape)}"
        expect(got == "shapes (1, 2, 1, 1) and (1, 2, 1, 1)", rule, given=facts, got=got, hint=hint)
    ### BEGIN HIDDEN TESTS
    g = generator()
    for num_bits in (2, 4, 8, 16):
        levels = 2**num_bits - 1
        for axis in (0, 1, 2, 3, -1, -3):
            w = torch.randn(6, 3, 5, 4, generator=g)
            shape = [1] * 4
            shape[axis] = w.shape[axis]
            w = w * (0.1 + torch.rand(shape, generator=g)) + torch.randn(shape, generator=g)
            before = w.clone()
            q, scalefactors, zeropoints = quantize_per_channel(w, axis, num_bits)
            expect_equal(w, before, "w itself is not changed", hint="avoid methods that end in _ on w")
            expect(
                list(scalefactors.shape) == shape and list(zeropoints.shape) == shape,
                "axis says which dimension counts the channels, from the end if negative",
                given=f"w of shape (6, 3, 5, 4), axis {axis}",
                got=f"shapes {tuple(scalefactors.shape)} and {tuple(zeropoints.shape)}",
                hint="axis % w.dim() makes a negative axis positive",
            )
            rows = w.movedim(axis, 0).flatten(1).double()
            low, high = rows.amin(1).clamp(max=0).reshape(shape), rows.amax(1).clamp(min=0).reshape(shape)
            facts = f"axis {axis}, {num_bits} bits"
            expect_close(
                scalefactors,
                (high - low) / levels,
                "each channel has the scale factor of its own range, widened to contain 0",
                within=(high - low) / levels * 2**-20,
                given=facts,
                hint="channels may lie wholly above or below 0; widen each one's range",
            )
            expect_close(
                zeropoints,
                -low / scalefactors.double(),
                "each channel has the zero point of its own range",
                within=0.5 + slack(num_bits),
                given=facts,
                hint="round(-min / scalefactor), channel by channel",
            )
            expect_equal(
                torch.cat([q.flatten(), zeropoints.flatten()]),
                torch.cat([q.flatten(), zeropoints.flatten()]).double().round().clamp(0, levels),
                "codes and zero points are whole numbers from 0 to 2^num_bits - 1",
                hint="round, then clamp",
            )
            back = scalefactors.double() * (q.double() - zeropoints.double())
            expect_close(
                back,
                w,
                "every weight comes back within half a step of its own channel",
                within=(scalefactors.double() * (0.5 + slack(num_bits))).expand(w.shape),
                given=w,
                hint="round to nearest, with the channel's own scale factor and zero point",
            )
            whole = (max(float(w.max()), 0.0) - min(float(w.min()), 0.0)) / levels
            expect(
                float(scalefactors.max()) <= whole * (1 + 2**-20),
                "no channel's step is larger than the step of the whole tensor",
                given=facts,
                hint="a channel's range lies inside the tensor's range",
            )
    w = torch.randn(5, 8, generator=g)
    other = w.clone()
    other[2] *= 40
    first, second = (quantize_per_channel(v, 0, 8)[0] for v in (w, other))
    expect_equal(
        first[[0, 1, 3, 4]],
        second[[0, 1, 3, 4]],
        "a channel's codes depend on that channel alone",
        given="two tensors that differ in channel 2 only",
        hint="is there a minimum or maximum over the whole tensor left somewhere?",
    )
    ### END HIDDEN TESTS

# %% nbgrader={"grade_id": "check_quantize_per_channel_edges", "grade": true, "points": 1}
with check("quantize_per_channel"):
    w = torch.tensor([[0.0, 0.0], [-1.0, 1.55]])
    rule = "a channel that is all zeros gets scale factor 1.0, zero point 0 and codes 0"
    hint = "one dead channel must not turn anything into NaN: torch.where(scale == 0, 1.0, scale)"
    q, scalefactors, zeropoints = expect_returns(lambda: quantize_per_channel(w), rule, given=w, hint=hint)
    expect_equal(torch.stack([scalefactors[0, 0], zeropoints[0, 0]]), [1.0, 0.0], rule, given=w, hint=hint)
    expect_equal(q, [[0, 0], [0, 255]], rule, given=w, hint=hint)
    ### BEGIN HIDDEN TESTS
    g = generator()
    for num_bits in (0, -2, 17):
        expect_raises(
            ValueError,
            lambda num_bits=num_bits: quantize_per_channel(torch.ones(2, 2), 0, num_bits),
            "num_bits outside 1 .. 16 is refused with a ValueError",
            given=f"num_bits={num_bits}",
            hint="test it first of all",
        )
    for bad in (
        torch.tensor([[1.0, math.nan], [0.0, 1.0]]),
        torch.tensor([[1.0, 2.0], [-math.inf, 1.0]]),
        torch.zeros(0, 3),
        torch.zeros(3, 0),
    ):
        expect_raises(
            ValueError,
            lambda bad=bad: quantize_per_channel(bad),
            "a w that is empty or has NaN or infinity is refused with a ValueError",
            given=f"shape {tuple(bad.shape)}, values {bad.tolist()}",
            hint="w.numel() and w.isfinite().all()",
        )
    w = torch.tensor([2.0, -3.0, 0.0, 0.5])
    rule = "in a w with one dimension every element is a channel"
    hint = "torch's amin(dim=[]) reduces over everything; reshape to (channels, -1) avoids that"
    q, scalefactors, zeropoints = expect_returns(lambda: quantize_per_channel(w), rule, given=w, hint=hint)
    expect_close(scalefactors, [2 / 255, 3 / 255, 1.0, 0.5 / 255], rule, within=2**-20, given=w, hint=hint)
    expect_equal(q, [255, 0, 0, 255], rule, given=w, hint=hint)
    w = torch.randn(8, 100, generator=g).half()
    q, scalefactors, zeropoints = quantize_per_channel(w)
    rule = "float16 input gives float32 codes, computed in float32 or better"
    expect(q.dtype == torch.float32, rule, expected=torch.float32, got=q.dtype, hint="w = w.float()")
    expect_close(
        scalefactors.double() * (q.double() - zeropoints.double()),
        w,
        rule,
        within=(scalefactors.double() * (0.5 + slack(8))).expand(w.shape),
        given=w,
        hint="convert first: float16 has 11 significant bits, too few for w / scalefactors",
    )
    ### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 5: mean squared error
#
# How much was lost? The plainest answer is the mean squared error over all $N$ elements,
#
# $$ \operatorname{MSE}(x, y) = \frac{1}{N} \sum_i (x_i - y_i)^2 . $$
#
# By hand: $x = (1, 2, 3)$, $y = (1, 2, 5)$ gives $(0 + 0 + 4) / 3 = 1.333\ldots$
#
# If the error is spread evenly over $[-\Delta/2, \Delta/2]$, which it nearly is for fine steps, its mean square is
#
# $$ \frac{1}{\Delta} \int_{-\Delta/2}^{\Delta/2} e^2 \, de = \frac{\Delta^2}{12} . $$
#
# Keep this number: it predicts the noise of a quantizer before you run it.
#
# A measure must be above suspicion, so decide its edges with care. Shapes that differ are refused, not broadcast: a
# (4,) against a (4, 1) tensor would silently compare 16 pairs. And the computation runs in float64, because squares
# of float16 numbers overflow from 256 on and differences of `uint8` wrap around.


# %% nbgrader={"grade_id": "mse", "solution": true}
def mse(x, y):
    """Mean squared error.

    Args:
        x, y: tensors of one shape, of any real dtype. Compute in float64.

    Returns:
        Python float, in the squared unit of x.

    Raises:
        ValueError: if the shapes differ, or the tensors are empty.
    """
    ### BEGIN SOLUTION
    if x.shape != y.shape:
        raise ValueError(f"shapes {tuple(x.shape)} and {tuple(y.shape)} differ")
    if x.numel() == 0:
        raise ValueError("the mean of nothing is not defined")
    return (x.double() - y.double()).square().mean().item()
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_mse", "grade": true, "points": 1}
with check("mse"):
    x, y = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 5.0])
    result = mse(x, y)
    expect_close(
        result,
        4 / 3,
        "mse is the mean of the squared differences",
        within=1e-6,
        given="x = [1, 2, 3], y = [1, 2, 5]",
        hint="subtract, square, then take the mean of all elements, in this order",
    )
    expect(
        isinstance(result, numbers.Real),
        "mse returns a Python float",
        got=type(result).__name__,
        hint=".item() turns a one-element tensor into a number",
    )
    ### BEGIN HIDDEN TESTS
    g = generator()
    for size in (0.01, 1.0, 50.0):
        x = torch.randn(6, 7, 8, generator=g) * size
        y = x + torch.randn(6, 7, 8, generator=g) * size * 0.1
        expected = float(((x.double() - y.double()) ** 2).sum()) / x.numel()
        for a, b in ((x, y), (y, x)):
            expect_close(
                mse(a, b),
                expected,
                "mse is the mean of the squared differences",
                within=expected * 1e-5,
                given="two tensors of shape (6, 7, 8)",
                hint="one mean over all elements; no square root, no absolute values",
            )
        expect_equal(mse(x, x), 0.0, "mse of a tensor with itself is 0", hint="nothing is added to avoid a zero")
    ### END HIDDEN TESTS

# %% nbgrader={"grade_id": "check_mse_edges", "grade": true, "points": 1}
with check("mse"):
    expect_raises(
        ValueError,
        lambda: mse(torch.zeros(4), torch.zeros(4, 1)),
        "tensors of different shapes are refused with a ValueError",
        given="shapes (4,) and (4, 1)",
        hint="compare x.shape and y.shape before torch broadcasts them",
    )
    ### BEGIN HIDDEN TESTS
    for shapes in (((3,), (1,)), ((2, 3), (3, 2)), ((5,), ())):
        expect_raises(
            ValueError,
            lambda shapes=shapes: mse(torch.ones(shapes[0]), torch.ones(shapes[1])),
            "tensors of different shapes are refused with a ValueError",
            given=f"shapes {shapes[0]} and {shapes[1]}",
            hint="the shapes must be equal, not just the numbers of elements",
        )
    expect_raises(
        ValueError,
        lambda: mse(torch.zeros(0), torch.zeros(0)),
        "empty tensors are refused with a ValueError",
        given="two tensors without elements",
        hint="x.numel() == 0; the mean of nothing would be NaN",
    )
    a, b = torch.tensor([10, 200], dtype=torch.uint8), torch.tensor([20, 100], dtype=torch.uint8)
    expect_close(
        expect_returns(
            lambda: mse(a, b), "integers are converted before the subtraction", given=a, hint="x.double() - y.double()"
        ),
        (100 + 10000) / 2,
        "integers are converted before the subtraction",
        within=1e-6,
        given="uint8 tensors [10, 200] and [20, 100]",
        hint="10 - 20 in uint8 is 246",
    )
    a, b = torch.tensor([300.0, 1.0]).half(), torch.tensor([-300.0, 1.0]).half()
    expect_close(
        mse(a, b),
        180000.0,
        "float16 numbers are squared in a wider type",
        within=0.1,
        given="float16 tensors [300, 1] and [-300, 1]",
        hint="float16 ends at 65504",
    )
    a, b = torch.tensor([1e-30, 0.0]), torch.tensor([0.0, 1e-30])
    expect_close(
        mse(a, b),
        1e-60,
        "small differences do not vanish: the squares are taken in float64",
        within=1e-65,
        given="float32 tensors with values near 1e-30",
        hint="the square of 1e-30 is below the smallest float32 number",
    )
    ### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 6: signal-to-quantization-noise ratio
#
# An MSE of 0.001 is terrible for weights near 0.01 and superb for activations near 100. A ratio does not depend on
# the unit. The **SQNR** compares the mean square of the signal with that of the error, in decibels (Lund thesis,
# equations 2.21 and 2.22):
#
# $$ \operatorname{SQNR}(x, y) = 10 \log_{10} \frac{E[x^2]}{E[(x - y)^2]} \;\text{dB} . $$
#
# By hand: $x = (3, 4)$, $y = (3, 4.5)$. Signal $(9 + 16)/2 = 12.5$, noise $0.25/2 = 0.125$, ratio 100, so **20 dB**.
# A feeling for the scale: +10 dB is a tenth of the noise power, +20 dB a tenth of the noise *amplitude*.
#
# Without noise the ratio is infinite, and so is its logarithm: return `math.inf`, also when the signal is 0 as well.
# If the signal is 0 and there is noise, return `-math.inf`.


# %% nbgrader={"grade_id": "sqnr_db", "solution": true}
def sqnr_db(x, y):
    """Signal-to-quantization-noise ratio in decibels.

    Args:
        x: the signal, a tensor of any real dtype. Compute in float64.
        y: the signal after quantization, of x's shape.

    Returns:
        Python float, 10 log10(E[x^2] / E[(x - y)^2]), in dB; inf if x equals y (even if both are all zeros), -inf if
        x is all zeros and y is not.

    Raises:
        ValueError: if the shapes differ, or the tensors are empty.
    """
    ### BEGIN SOLUTION
    if x.shape != y.shape:
        raise ValueError(f"shapes {tuple(x.shape)} and {tuple(y.shape)} differ")
    if x.numel() == 0:
        raise ValueError("the mean of nothing is not defined")
    x, y = x.double(), y.double()
    signal = x.square().mean().item()
    noise = (x - y).square().mean().item()
    if noise == 0:
        return math.inf
    if signal == 0:
        return -math.inf
    return 10 * math.log10(signal / noise)
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_sqnr_db", "grade": true, "points": 2}
with check("sqnr_db"):
    x, y = torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.5])
    result = sqnr_db(x, y)
    expect_close(
        result,
        20.0,
        "the SQNR is 10 log10 of the signal's mean square over the error's mean square",
        within=1e-3,
        given="x = [3, 4], y = [3, 4.5]",
        hint="a ratio of 100 is 20 dB: a logarithm to base 10, times 10, signal on top",
    )
    expect(
        isinstance(result, numbers.Real),
        "sqnr_db returns a Python float",
        got=type(result).__name__,
        hint=".item() turns a one-element tensor into a number",
    )
    ### BEGIN HIDDEN TESTS
    g = generator()
    for shift in (0.0, 5.0, -2.0):
        x = torch.randn(5, 200, generator=g) + shift
        for size in (1.0, 0.1, 0.003):
            noise = torch.randn(5, 200, generator=g) * size + 0.1 * size
            y = x + noise
            error = x.double() - y.double()
            expected = 10 * math.log10(float((x.double() ** 2).sum() / (error**2).sum()))
            expect_close(
                sqnr_db(x, y),
                expected,
                "signal and noise are mean squares over all elements, of x and of x - y",
                within=1e-3,
                given=f"x with mean {shift}, noise of size {size}",
                hint="the signal is x, not y; no mean is subtracted; one ratio of two means, not a mean of ratios",
            )
    x = torch.randn(300, generator=g)
    y = x + 0.01 * torch.randn(300, generator=g)
    for factor in (2.0**-10, 2.0**10):
        expect_close(
            sqnr_db(factor * x, factor * y),
            sqnr_db(x, y),
            "the SQNR does not depend on the unit",
            within=1e-3,
            given=f"x and y, both times {factor}",
            hint="nothing is added to the denominator",
        )
    ### END HIDDEN TESTS

# %% nbgrader={"grade_id": "check_sqnr_db_edges", "grade": true, "points": 1}
with check("sqnr_db"):
    x = torch.tensor([1.0, -2.0])
    rule = "without noise the SQNR is infinite"
    hint = "ask whether the noise is 0 before you divide"
    expect_equal(
        expect_returns(lambda: sqnr_db(x, x), rule, hint=hint), math.inf, rule, given="y equal to x", hint=hint
    )
    ### BEGIN HIDDEN TESTS
    g = generator()
    zeros = torch.zeros(3)
    expect_equal(
        expect_returns(lambda: sqnr_db(zeros, zeros), rule, given="x and y all zeros", hint=hint),
        math.inf,
        rule,
        given="x and y all zeros",
        hint=hint,
    )
    rule = "noise without a signal gives -inf"
    hint = "math.log10(0) raises; ask first"
    expect_equal(
        expect_returns(lambda: sqnr_db(zeros, torch.ones(3)), rule, given="x all zeros, y all ones", hint=hint),
        -math.inf,
        rule,
        given="x all zeros, y all ones",
        hint=hint,
    )
    for shapes in (((4,), (4, 1)), ((3,), (1,)), ((2, 3), (3, 2))):
        expect_raises(
            ValueError,
            lambda shapes=shapes: sqnr_db(torch.ones(shapes[0]), torch.ones(shapes[1])),
            "tensors of different shapes are refused with a ValueError",
            given=f"shapes {shapes[0]} and {shapes[1]}",
            hint="compare x.shape and y.shape before torch broadcasts them",
        )
    expect_raises(
        ValueError,
        lambda: sqnr_db(torch.zeros(0), torch.zeros(0)),
        "empty tensors are refused with a ValueError",
        given="two tensors without elements",
        hint="x.numel() == 0",
    )
    x = torch.randn(300, generator=g)
    y = x + 0.01 * torch.randn(300, generator=g)
    expected = 10 * math.log10(float((x.double() ** 2).sum() / ((x.double() - y.double()) ** 2).sum()))
    for factor in (2.0**-90, 2.0**90):
        rule = "the SQNR does not depend on the unit, however small or large: squares are taken in float64"
        hint = "the square of 1e-27 is below the smallest float32 number"
        expect_close(
            expect_returns(lambda factor=factor: sqnr_db(factor * x, factor * y), rule, hint=hint),
            expected,
            rule,
            within=1e-3,
            given=f"x and y, both times {factor:.3g}",
            hint=hint,
        )
    ### END HIDDEN TESTS

# %% [markdown]
# ## Explore: six decibels per bit
#
# One more bit nearly halves the step ($2^n - 1$ gaps become $2^{n+1} - 1$), so the noise $\Delta^2/12$ falls to about
# a quarter: $10 \log_{10} 4 = 6.02$ dB. For data
# spread evenly over the whole range $[-A, A]$ we can say more. The signal's mean square is $A^2/3$, the step
# $2A / (2^n - 1)$, so
#
# $$
# \operatorname{SQNR} = 10 \log_{10} \frac{A^2/3}{\Delta^2/12} = 20 \log_{10} (2^n - 1)
# \;\approx\; 6.02\, n \;\text{dB} .
# $$
#
# Theory and your own functions, side by side. The Gaussian data have the same law with an offset: their rare large
# values stretch the range, and most codes in it are seldom used.

# %% tags=["explore"]
maker = torch.Generator().manual_seed(1)
uniform = torch.rand(200_000, generator=maker) * 2 - 1
gauss = torch.randn(200_000, generator=maker)


def round_trip_sqnr(x, num_bits):
    return sqnr_db(x, dequantize_tensor(*quantize_tensor(x, num_bits=num_bits)))


bits = range(2, 11)
measured = {
    "uniform": [round_trip_sqnr(uniform, n) for n in bits],
    "Gaussian": [round_trip_sqnr(gauss, n) for n in bits],
}
law = [20 * math.log10(2**n - 1) for n in bits]

print("bits   uniform   20 log10(2^n - 1)   6.02 n   Gaussian     (dB)")
for n, u, theory, normal in zip(bits, measured["uniform"], law, measured["Gaussian"], strict=True):
    print(f"{n:4d}   {u:7.2f}   {theory:17.2f}   {6.02 * n:6.2f}   {normal:8.2f}")

figure, axes = plt.subplots(figsize=(6.4, 3.8))
curves_by_bits(axes, bits, measured)
axes.plot(bits, law, color=COLOURS["black"], linestyle="--", linewidth=1, label="20 log10(2ⁿ − 1)")
axes.set_title("One bit more: 6 dB more")
axes.legend()
plt.show()

# %% [markdown]
# ## Explore: a real network, per tensor and per channel
#
# `ClassyClassifier` is a small image classifier with two convolutions and three fully connected layers. Its trained
# weights come with the course, for CIFAR-10 and for generated images of simple shapes. The cell says which it took.
# First look at the ranges of the output channels in its first two layers: the blue bars differ in length, and every
# part of the light band that a bar does not reach is wasted codes for that channel.

# %% tags=["explore"]
from course_utils.data import classification_data
from course_utils.networks import accuracy, load_trained, normalize

data = classification_data(train=False)
model = load_trained(f"classyclassifier-{data.name}")
print(data.note)
weights = {name.removesuffix(".weight"): p.detach() for name, p in model.named_parameters() if p.dim() > 1}
for name, weight in weights.items():
    print(f"{name:14s} {tuple(weight.shape)!s:18s} {weight.numel():7d} weights")

figure, axes = plt.subplots(1, 2, figsize=(10, 3.6))
for ax, name in zip(axes, list(weights)[:2], strict=True):
    channel_ranges(ax, weights[name])
    ax.set_title(name)
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
plt.show()

# %% [markdown]
# Now the experiment: quantize each layer's weights with 2 to 8 bits, on one grid for the tensor, on one grid per
# output channel, and symmetrically. How many bits is "per channel" worth?

# %% tags=["explore"]
bits = range(2, 9)
schemes = {
    "per channel": lambda w, n: quantize_per_channel(w, 0, n),
    "per tensor": lambda w, n: quantize_tensor(w, num_bits=n),
    "symmetric, per tensor": lambda w, n: quantize_symmetric(w, n),
}
layer_sqnr = {
    name: {
        scheme: [sqnr_db(w, dequantize_tensor(*quantize(w, n))) for n in bits] for scheme, quantize in schemes.items()
    }
    for name, w in weights.items()
}

figure, axes = plt.subplots(1, len(weights), figsize=(2.5 * len(weights), 3.4), sharey=True)
for ax, (name, curves) in zip(axes, layer_sqnr.items(), strict=True):
    curves_by_bits(ax, bits, curves)
    ax.set_title(name)
for ax in axes[1:]:
    ax.set_ylabel("")
axes[0].legend(fontsize=8, loc="upper left")
plt.show()

print("gain of per channel over per tensor, in dB (6.02 dB is worth one bit)")
print(f"{'layer':14s}" + "".join(f"{n:>4d} bit" for n in bits))
for name, curves in layer_sqnr.items():
    gains = [c - t for c, t in zip(curves["per channel"], curves["per tensor"], strict=True)]
    print(f"{name:14s}" + "".join(f"{gain:8.1f}" for gain in gains))

# %% [markdown]
# **What exactly is guaranteed?** A channel's range lies inside the tensor's range, so $\Delta_c \le \Delta$ and the
# *bound* $\Delta_c / 2$ on the error is never worse. The error itself may be: a coarse grid can hit some values by
# luck. Here is such a case, made on purpose: whole numbers, which a step of exactly 1 meets without any error.

# %% tags=["explore"]
lucky = torch.tensor([[0.0, 255.0], [33.0, 100.0]])
for scheme, codes in (("per tensor", quantize_tensor(lucky)), ("per channel", quantize_per_channel(lucky))):
    back = dequantize_tensor(*codes)
    steps = [round(float(step), 4) for step in np.ravel(codes[1])]
    largest = float((back - lucky).abs().max())
    print(f"{scheme:12s} steps {steps!s:16s} largest error {largest:.4f}   mse {mse(lucky, back):.5f}")

# %% [markdown]
# ## Exercise 7: stochastic rounding
#
# Rounding to nearest always sends 0.3 to 0. Ask it a thousand times, and it is wrong in the same direction a thousand
# times. **Stochastic rounding** sends 0.3 to 1 with probability 0.3 and to 0 with probability 0.7: each answer is
# worse, but their *mean* is 0.3. With a step $\varepsilon$ and $\lfloor x \rfloor_\varepsilon$ the largest multiple
# of $\varepsilon$ that is not above $x$:
#
# $$
# \operatorname{round}(x) =
# \begin{cases}
# \lfloor x \rfloor_\varepsilon & \text{with probability } 1 - p\\
# \lfloor x \rfloor_\varepsilon + \varepsilon & \text{with probability } p
# \end{cases}
# \qquad
# p = \frac{x - \lfloor x \rfloor_\varepsilon}{\varepsilon} .
# $$
#
# Then $E[\operatorname{round}(x)] = \lfloor x \rfloor_\varepsilon + p\,\varepsilon = x$: **unbiased**. Ristretto, a
# quantization tool built on Caffe, offers this scheme beside the deterministic one. (The lecture prints the
# deterministic case as "$\lfloor x \rfloor$ if $\lfloor x \rfloor \le x \le x + \varepsilon/2$". This condition holds
# for every $x$; meant is $\lfloor x \rfloor \le x \le \lfloor x \rfloor + \varepsilon/2$, and in the second case
# $x \le \lfloor x \rfloor + \varepsilon$.)
#
# By hand: $x = -0.3$, $\varepsilon = 0.25$. The multiple below is $-0.5$ (below, not nearer to zero!), so
# $p = 0.2 / 0.25 = 0.8$: four times out of five −0.25, otherwise −0.5. The mean is
# $0.8 \cdot (-0.25) + 0.2 \cdot (-0.5) = -0.3$.
#
# Draw the random numbers from the `generator` that is passed in (`torch.rand(x.shape, generator=generator)`), one for
# each element. Then the same seed gives the same result, and an experiment can be repeated.


# %% nbgrader={"grade_id": "round_stochastic", "solution": true}
def round_stochastic(x, step, generator):
    """Rounds each element to one of its two neighbouring multiples of step, at random, unbiased in the mean.

    Args:
        x: tensor of any shape, float16, float32 or float64. It is not changed. Compute in float32 or better.
        step: positive number, the distance between the multiples, in the unit of x.
        generator: torch.Generator, the only source of randomness. Each element has a random number of its own.

    Returns:
        float32 tensor of x's shape. A multiple of step stays what it is.

    Raises:
        ValueError: if step is not positive and finite, or x contains NaN or infinity.
    """
    ### BEGIN SOLUTION
    if not (math.isfinite(step) and step > 0):
        raise ValueError(f"step must be positive and finite, not {step}")
    x = x.float()
    if not x.isfinite().all():
        raise ValueError("x contains NaN or infinity")
    position = x / step
    below = torch.floor(position)
    up = torch.rand(x.shape, generator=generator) < position - below
    return (below + up) * step
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_round_stochastic", "grade": true, "points": 3}
with check("round_stochastic"):
    x = torch.full((20_000,), -0.3)
    y = round_stochastic(x, 0.25, torch.Generator().manual_seed(0))
    expect_equal(x, torch.full((20_000,), -0.3), "x itself is not changed", hint="avoid methods that end in _ on x")
    expect(
        isinstance(y, torch.Tensor) and y.dtype == torch.float32 and y.shape == x.shape,
        "the result is a float32 tensor of x's shape",
        got=f"{getattr(y, 'dtype', type(y).__name__)}, {tuple(getattr(y, 'shape', ()))}",
        hint="torch.rand(x.shape, generator=generator) has x's shape",
    )
    values = sorted(set(y.tolist()))
    expect(
        set(values) <= {-0.5, -0.25},
        "the result is one of the two multiples of step next to x",
        given="x = -0.3, step = 0.25",
        expected="-0.5 or -0.25",
        got=values[:4],
        hint="torch.floor(x / step) is the multiple below, counted in steps; multiply by step at the end",
    )
    expect(
        len(values) == 2,
        "each element has a random number of its own, so both multiples occur",
        given="x = -0.3, 20000 times, step = 0.25",
        expected="-0.5 about 4000 times, -0.25 about 16000 times",
        got=f"{values[0]}, 20000 times",
        hint="below is torch.floor(x / step), no cutting off; torch.rand(x.shape, generator=generator) < p goes up",
    )
    # the mean of n draws has the standard deviation step * sqrt(p (1 - p) / n); we allow six of them
    expect_close(
        y.double().mean(),
        -0.3,
        "the mean of many results is x",
        within=6 * 0.25 * math.sqrt(0.8 * 0.2 / 20_000),
        given="x = -0.3, step = 0.25, 20000 draws",
        hint="go up with probability (x - multiple below) / step",
    )
    again = round_stochastic(x, 0.25, torch.Generator().manual_seed(0))
    expect_equal(again, y, "the same seed gives the same result", hint="pass generator=generator to torch.rand")
    ### BEGIN HIDDEN TESTS
    g = generator()
    draws = 20_000
    for step in (0.125, 1.0, 0.3, 7.0):
        for p in (0.05, 0.25, 0.5, 0.9):
            for base in (-3, 0, 2):
                value = float(torch.tensor((base + p) * step))  # as float32 holds it
                p_true = value / step - base
                y = round_stochastic(torch.full((draws,), value), step, g).double()
                facts = f"x = {value:.6g}, step = {step}"
                expect_close(
                    (y / step - base - 0.5).abs(),
                    torch.full((draws,), 0.5),
                    "the result is one of the two multiples of step next to x",
                    within=1e-5,
                    given=facts,
                    hint="floor(x / step) * step, or one step more",
                )
                expect_close(
                    y.mean(),
                    value,
                    "the mean of many results is x",
                    within=step * (6 * math.sqrt(p_true * (1 - p_true) / draws) + 2**-20),
                    given=f"{facts}, {draws} draws",
                    hint="go up with probability (x - multiple below) / step, independently for each element",
                )
    x = torch.randn(40, 50, generator=g) * 4
    before = x.clone()
    first, same, other = (round_stochastic(x, 0.5, torch.Generator().manual_seed(s)) for s in (7, 7, 8))
    expect_equal(
        first, same, "the same seed gives the same result", hint="the generator is the only source of randomness"
    )
    expect(
        bool((first != other).any()),
        "another seed gives another result",
        hint="do not seed anything yourself: draw from the generator as it comes",
    )
    expect_equal(x, before, "x itself is not changed", hint="avoid methods that end in _ on x")
    twice = torch.Generator().manual_seed(9)
    first, second = (round_stochastic(x, 0.5, twice) for _ in range(2))
    expect(
        bool((first != second).any()),
        "a second call with the same generator draws new numbers",
        hint="do not make a new generator from its seed; use the one you get",
    )
    ### END HIDDEN TESTS

# %% nbgrader={"grade_id": "check_round_stochastic_edges", "grade": true, "points": 1}
with check("round_stochastic"):
    x = torch.tensor([-1.0, -0.25, 0.0, 0.5, 0.75])
    for seed in range(20):
        expect_equal(
            round_stochastic(x, 0.25, torch.Generator().manual_seed(seed)),
            x,
            "a multiple of step stays what it is",
            given=x,
            hint="the probability of going up is 0 there",
        )
    ### BEGIN HIDDEN TESTS
    g = generator()
    for step in (0.0, -0.5, math.inf, math.nan):
        expect_raises(
            ValueError,
            lambda step=step: round_stochastic(torch.ones(3), step, torch.Generator()),
            "a step that is not positive and finite is refused with a ValueError",
            given=f"step={step}",
            hint="math.isfinite(step) and step > 0",
        )
    for bad in (math.nan, math.inf, -math.inf):
        expect_raises(
            ValueError,
            lambda bad=bad: round_stochastic(torch.tensor([0.5, bad]), 0.5, torch.Generator()),
            "NaN and infinity are refused with a ValueError",
            given=[0.5, bad],
            hint="x.isfinite().all()",
        )
    expect_equal(
        round_stochastic(torch.zeros(0, 3), 0.5, torch.Generator()),
        torch.zeros(0, 3),
        "an empty x gives an empty result",
        hint="nothing special to do: torch.rand makes empty tensors too",
    )
    for dtype in (torch.float16, torch.float64):
        x = torch.full((20_000,), 300.25, dtype=dtype)  # 428.93 steps
        y = round_stochastic(x, 0.7, g)
        rule = "float16 and float64 input gives a float32 result, computed in float32 or better"
        hint = "x = x.float() first: float16 has 11 significant bits"
        expect(y.dtype == torch.float32, rule, given=dtype, expected=torch.float32, got=y.dtype, hint=hint)
        within = torch.full((20_000,), 1e-3)
        expect_close((y.double() / 0.7 - 428.5).abs(), torch.full((20_000,), 0.5), rule, within=within, hint=hint)
        expect_close(y.double().mean(), 300.25, rule, within=6 * 0.7 * 0.5 / math.sqrt(20_000), given=dtype, hint=hint)
    y = round_stochastic(torch.full((3, 4, 1000), 0.5), 1.0, g)
    expect(
        bool((y.double().mean(dim=2) - 0.5).abs().max() < 6 * 0.5 / math.sqrt(1000)),
        "each element has a random number of its own",
        given="x of shape (3, 4, 1000), all 0.5, step 1",
        hint="torch.rand(x.shape, ...), not torch.rand(1, ...) and not one per row",
    )
    ### END HIDDEN TESTS

# %% [markdown]
# ## Explore: when many small steps must add up
#
# Why would anyone add noise on purpose? Training nudges a weight by tiny amounts. Let a weight live on a grid of step
# 1/8 and receive 300 updates of +0.01. Rounded to nearest, every single update is lost: the weight never leaves its
# grid point. Rounded stochastically, most updates are lost too, but now and then one moves the weight by a whole
# step, and on average it arrives where it should.

# %% tags=["explore"]
maker = torch.Generator().manual_seed(2)
update, grid_step, count, runs = 0.01, 0.125, 300, 1000
walk = [torch.zeros(runs)]
nearest = [0.0]
for _ in range(count):
    walk.append(round_stochastic(walk[-1] + update, grid_step, maker))
    nearest.append(round((nearest[-1] + update) / grid_step) * grid_step)
walk = torch.stack(walk)

figure, axes = plt.subplots(figsize=(7.5, 3.8))
axes.plot(walk[:, :6], color=COLOURS["sky"], linewidth=0.9)
axes.plot([], [], color=COLOURS["sky"], label="stochastic, 6 of the runs")
axes.plot(walk.mean(1), color=COLOURS["blue"], linewidth=4, alpha=0.7, label=f"stochastic, mean of {runs} runs")
axes.plot(np.arange(count + 1) * update, color=COLOURS["black"], linestyle="--", linewidth=1.2, label="exact sum")
axes.plot(nearest, color=COLOURS["vermillion"], label="to nearest")
axes.set_xlabel("number of updates of +0.01")
axes.set_ylabel("weight (grid step 0.125)")
axes.set_title("Small updates survive stochastic rounding, on average")
axes.legend()
plt.show()
print(
    f"after {count} updates: exact {count * update:.3f}, to nearest {nearest[-1]:.3f}, "
    f"stochastic {walk[-1].mean():.3f} ± {walk[-1].std() / math.sqrt(runs):.3f} (mean of {runs} runs ± its standard "
    f"error; one run has the standard deviation {walk[-1].std():.3f})"
)

ramp = torch.rand(100_000, generator=maker) * 10
to_nearest = torch.round(ramp / grid_step) * grid_step
at_random = round_stochastic(ramp, grid_step, maker)
print(
    f"mse in units of step²: to nearest {mse(ramp, to_nearest) / grid_step**2:.4f} (theory 1/12 = {1 / 12:.4f}), "
    f"stochastic {mse(ramp, at_random) / grid_step**2:.4f} (theory 1/6 = {1 / 6:.4f})"
)

# %% [markdown]
# The last line is the price: averaged over all positions $p$ between two grid points, the mean square error of
# stochastic rounding is $\varepsilon^2 \int_0^1 p (1 - p)\, dp = \varepsilon^2 / 6$, twice that of rounding to
# nearest. So inference rounds to nearest; stochastic rounding belongs where errors accumulate.

# %% [markdown]
# ## What the field reports
#
# **TensorFlow's note on 8-bit weights** (quoted in the survey): with the range −3.0 to 6.0
# "a 0 byte would represent -3.0, a 255 would stand for 6.0, and 128 would represent about 1.5". Your functions say
# exactly how much "about" is. The last line shows why 1.5 itself is a delicate input: it lies halfway between two
# codes, 127 and 128, so that the last bit of the scale factor decides which one it gets.

# %% tags=["explore"]
_, scale, zero = quantize_tensor(torch.tensor([-3.0, 6.0]))
for code, reported in ((0, "-3.0"), (128, "about 1.5"), (255, "6.0")):
    value = dequantize_tensor(torch.tensor([float(code)]), scale, zero).item()
    print(f"code {code:3d}: the note says {reported:10s} computed {value:.6f}")
print(f"1.5 / scalefactor + zeropoint = {1.5 / scale + zero:.6f}")

# %% [markdown]
# **Signed or unsigned?** The Lund thesis (section 2.3.1) says that the scheme works for unsigned codes $0 \dots 255$
# and for signed codes $-128 \dots 127$, that the two "only differ in the clamp-ing part", and that for a symmetric
# range the zero point is 0 in the signed format where it is 128 in the unsigned one. The last sentence is right, but
# then equation 2.11 cannot be the same for both. It must place the *lowest* code at the lower end of the range:
#
# $$ Z = \operatorname{round}\!\left(q_{\min} - \frac{a}{\Delta}\right), \qquad q_{\min} = 0 \text{ or } -2^{n-1} . $$
#
# Let the formulas speak:

# %% tags=["explore"]
r = 1.0
delta = 2 * r / 255
print(f"equation 2.11 as printed, range [-1, 1], 8 bits:    Z = {round(r / delta)}   (r / delta = {r / delta})")
print(f"with the lowest code, unsigned:                     Z = {round(0 + r / delta)}")
print(f"with the lowest code, signed:                       Z = {round(-128 + r / delta)}")
x = torch.rand(2_000_000, generator=torch.Generator().manual_seed(3)) * 2 - 1
full = sqnr_db(x, torch.clamp(torch.round(x / delta), -128, 127) * delta)
restricted = sqnr_db(x, dequantize_tensor(*quantize_symmetric(x)))
print(f"signed codes -128..127, step 2 max|x| / 255: SQNR {full:.3f} dB")
print(f"your codes   -127..127, step   max|x| / 127: SQNR {restricted:.3f} dB")
print(f"difference {full - restricted:.3f} dB, theory 20 log10(255 / 254) = {20 * math.log10(255 / 254):.3f} dB")

# %% [markdown]
# Leaving −128 unused makes the step larger by the factor $255/254$, which costs a few hundredths of a decibel.
#
# **Per channel in a whole network.** The thesis (Table 5.2) quantizes all 35 convolutions of MobileNetV2, an image
# classifier made for telephones, to 8 bits, per channel and symmetric by default. It measures on ImageNet (photos of
# 1,000 classes) the SQNR of the network's outputs and the top-1 accuracy: how often the most likely class is the right
# one. Settings B and C keep some layers in float, F and G truncate instead of rounding: they are left out here.
#
# | setting (Lund thesis, Table 5.2) | output SQNR (dB) | top-1 accuracy |
# |---|---|---|
# | float reference | – | 68.05 % |
# | A: all convolutions per channel | 11.14 | 63.81 % |
# | D: five layers of high SQNR per tensor instead | 10.70 | 63.68 % |
# | E: five layers of low SQNR per tensor instead | 10.12 | 63.50 % |
#
# Going from per channel to per tensor in only five layers cost up to $11.14 - 10.12 = 1.02$ dB. Let us measure the
# output of `ClassyClassifier` in the same way: run some images through the float network and through one whose
# weights went through your functions, and compare the ten outputs.
#
# One caution. You have measured one ratio of two means (equation 2.22). The thesis' profiler records something else
# under the same name: equation 4.3 takes a ratio for each activation first (sums over all images), then the *mean of
# the ratios*, then the logarithm. The cell prints both.

# %% tags=["explore"]
import copy


def with_quantized_weights(network, quantize):
    """A copy of the network whose weights went through a quantizer and back. Biases stay as they are."""
    changed = copy.deepcopy(network)
    with torch.no_grad():
        for p in changed.parameters():
            if p.dim() > 1:
                p.copy_(dequantize_tensor(*quantize(p.detach())))
    return changed


images, labels = normalize(data.images[:2000]), data.labels[:2000]
with torch.no_grad():
    outputs = model(images)
print(f"output SQNR of ClassyClassifier, {len(images)} images of {data.name}, weights quantized (dB)")
print(f"{'bits':>4s}   {'scheme':22s} {'eq. 2.22':>9s} {'eq. 4.3':>9s}")
for n in (8, 4):
    for scheme, quantize in schemes.items():
        with torch.no_grad():
            changed = with_quantized_weights(model, lambda w, n=n, quantize=quantize: quantize(w, n))(images)
        ratios = outputs.double().square().sum(0) / (outputs - changed).double().square().sum(0)
        print(f"{n:4d}   {scheme:22s} {sqnr_db(outputs, changed):9.2f} {10 * math.log10(ratios.mean()):9.2f}")
print("thesis, 8 bits, MobileNetV2: 11.14 per channel (A), 10.12 with five layers per tensor (E)")

# %% [markdown]
# The direction is the thesis': per channel is better. The size is not. Two differences stand out. You quantized the
# weights only; the thesis quantizes the activations that go into each convolution, too. And its network is 35
# convolutions deep, so more noise piles up on the way to the output.
#
# **How few bits are enough?** Ristretto's results with *dynamic fixed point*, as the survey quotes them. Dynamic fixed
# point is your symmetric quantizer with one restriction: the step of each tensor must be a power of two. (The figures
# in brackets stand there without explanation. They are never the higher ones, so we read them as accuracy before the
# quantized network was trained a little further.)
#
# | network | layer outputs | conv weights | fc weights | 32-bit | fixed point |
# |---|---|---|---|---|---|
# | LeNet (1) | 4 bit | 4 bit | 4 bit | 99.15 % | 98.95 % (98.72 %) |
# | LeNet (2) | 4 bit | 2 bit | 2 bit | 99.15 % | 98.81 % (98.03 %) |
# | Full CIFAR-10 | 8 bit | 8 bit | 8 bit | 81.69 % | 81.44 % (80.64 %) |
# | CaffeNet | 8 bit | 8 bit | 8 bit | 56.90 % | 56.00 % (55.77 %) |
# | SqueezeNet | 8 bit | 8 bit | 8 bit | 57.68 % | 57.09 % (55.25 %) |
# | GoogLeNet | 8 bit | 8 bit | 8 bit | 68.92 % | 66.57 % (66.07 %) |
#
# The row to compare with is "Full CIFAR-10": a small network on small pictures, as ours. Ristretto quantizes the
# layer outputs too; the cell quantizes only the weights, per channel. Look for the number of bits where the curve
# breaks.

# %% tags=["explore"]
bits = range(1, 9)
shares = []
for n in bits:
    changed = with_quantized_weights(model, lambda w, n=n: quantize_per_channel(w, 0, n))
    shares.append(100 * accuracy(changed, images, labels))
reference = 100 * accuracy(model, images, labels)
print(f"{data.name}, {len(images)} test images, float: {reference:.2f} %")
for n, share in zip(bits, shares, strict=True):
    print(f"{n} bit weights, per channel: {share:6.2f} %   ({share - reference:+.2f})")
print("Ristretto, Full CIFAR-10, 8 bit weights and outputs: 81.69 % -> 81.44 % (80.64 %)")

figure, axes = plt.subplots(figsize=(6.4, 3.4))
curves_by_bits(axes, bits, {"weights per channel": shares}, ylabel="correct (%)")
axes.axhline(reference, color=COLOURS["black"], linestyle="--", linewidth=1, label="float")
axes.axhline(10, color="0.5", linestyle=":", linewidth=1, label="guessing")
axes.set_ylim(0, 100)
axes.set_title(f"{data.name}: accuracy of ClassyClassifier")
axes.legend(loc="center right")
plt.show()

# %% [markdown]
# One bit is a special case. A grid of two codes that must contain 0 has only one other value, the channel's largest or
# smallest: weights of the other sign all become 0.
#
# And what does the restriction to powers of two cost? It makes scaling a bit shift. A step rounded up to a power of
# two is up to twice as large, so the cost is up to about 6.02 dB, one bit:

# %% tags=["explore"]
print("8 bits, symmetric     free step      SQNR    power of two      SQNR    cost (dB)")
for name, w in weights.items():
    q, step, _ = quantize_symmetric(w, 8)
    power = 2.0 ** math.ceil(math.log2(step))
    free, bound = sqnr_db(w, dequantize_tensor(q, step, 0)), sqnr_db(w, torch.round(w / power) * power)
    print(f"{name:20s} {step:10.6f} {free:9.2f}    {power:12.6f} {bound:9.2f}    {free - bound:9.2f}")

# %% [markdown]
# ## Recap
#
# - A grid is two numbers: the scale factor (its step) and the zero point (the code of 0). The range is widened to
#   contain 0, so that 0 is exact.
# - Inside the range the error is at most half a step; outside, values saturate.
# - One bit is worth 6.02 dB. The noise of a fine grid is $\Delta^2/12$.
# - Symmetric grids have zero point 0 and suit weights. Grids per channel have steps that are never larger than the
#   tensor's.
# - Rounding to nearest has the smaller error, stochastic rounding has none *on average*.
#
# Three questions to finish. A few sentences each, with numbers where you can.

# %% [markdown]
# ### Question 1: the price of zero
#
# A tensor holds values spread over 5.0 to 6.0 and nothing else. Your `quantize_tensor` widens its range to $[0, 6]$.
# How many decibels of SQNR does this cost at 8 bits, compared with a grid of 256 codes over $[5, 6]$? Derive the number
# from the noise formula of exercise 5. Then say why every quantizer in this course pays this price.

# %% [markdown] nbgrader={"grade_id": "why_zero_is_exact", "grade": true, "solution": true, "points": 2}
# **Model answer.** The step grows by the factor $6 / 1 = 6$, the noise $\Delta^2/12$ by 36. The signal stays, so the
# SQNR falls by $10 \log_{10} 36 = 20 \log_{10} 6 = 15.6$ dB, about 2.6 bits. We pay because 0 is a special value:
# zero padding, ReLU and pruned weights produce exact zeros, very often. If 0 were off the grid, all of them would
# carry the same error, which does not average out but adds up as a bias in the next layer's sums. Also $Z$ must be a
# code within range to be stored in the same integer type.
#
# *Marking: 1 point for the factor 6 and 15.6 dB (or 36 times the noise power). 1 point for a reason that names where
# exact zeros come from or that the error is systematic.*

# %% [markdown]
# ### Question 2: is per channel always better?
#
# A colleague claims: "Quantizing per channel never has a larger error than quantizing per tensor." Of which error is
# this true: of the bound $\Delta/2$, of the error of a single value, of the MSE? Give an example, with numbers, for one
# of which it is false.

# %% [markdown] nbgrader={"grade_id": "why_per_channel", "grade": true, "solution": true, "points": 2}
# **Model answer.** True for the bound: a channel's range (widened to contain 0) is a part of the tensor's range, so
# $\Delta_c \le \Delta$ for every channel, and the largest possible error $\Delta_c / 2$ is never larger. False for
# the actual error, of one value or in the mean: a coarser grid can hit the values by chance. Example: the whole
# numbers 0, 255 in one channel and 33, 100 in the other. Per tensor the step is 1 and every value is met exactly; per
# channel the second one has step $100/255$, 33 lies off its grid, and the error is larger than 0. For weights without
# such structure the error follows $\Delta^2/12$, and per channel wins nearly always.
#
# *Marking: 1 point for "the bound, because the range is a subset". 1 point for "not for each error or the MSE" with a
# valid example (any values that lie on the coarse grid but not on the fine one).*

# %% [markdown]
# ### Question 3: noise on purpose
#
# Stochastic rounding has twice the mean square error of rounding to nearest. Name one place where you would still use
# it and one where you would not, and say why. What would go wrong in an experiment if the function drew from torch's
# global random state instead of the `generator`?

# %% [markdown] nbgrader={"grade_id": "why_stochastic", "grade": true, "solution": true, "points": 2}
# **Model answer.** Use it where many small quantities are rounded and added up, above all for weight updates in
# low-precision training: updates smaller than half a step vanish under rounding to nearest, while stochastic rounding
# keeps them in the mean, and independent errors partly cancel (the error of a sum of $n$ grows like $\sqrt{n}$, not
# like $n$). Do not use it where one number is rounded once and its own error counts, as in the weights or activations
# at inference: the error is larger, up to a whole step, and the same input would give different outputs. With the
# global state, results would depend on every other random call in the program: runs could not be repeated, and
# rounding would change the random numbers that other parts draw.
#
# *Marking: 1 point for a fitting place of each kind with its reason (accumulated errors or lost small updates,
# against a single rounding). 1 point for repeatability or interference with other random draws.*
