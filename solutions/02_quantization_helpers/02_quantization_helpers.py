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
# <details><summary>The sources</summary>
#
# "The lecture" is Yung-Hsiang Lu's on static quantization in *Computer Vision for Embedded Systems* (Purdue); "the
# thesis" is *Quantization Profiler for Artificial Neural Networks* by Martin Lindström and Jakob Hök (Lund University,
# 2020); "the survey" is a lecture on quantization methods that quotes TensorFlow's documentation and *Ristretto*, a
# tool for the Caffe framework. Their slips stand in the folded parts "for the curious".
#
# </details>

# %%
import math

import matplotlib.pyplot as plt
import numpy as np
import torch

from course_utils.pictures import COLOURS, channel_ranges, code_line, curves_by_bits, use_course_style

use_course_style()

# %%
# For the check cells only: nothing here is needed for your answers.
import functools
from fractions import Fraction

from course_utils.checks import *


def slack(num_bits):
    """How far, in steps, rounding inside float32 arithmetic may move a value before it is rounded to a code.

    float32 keeps 24 significant bits. A code needs num_bits of them, and a division and an addition may each lose
    half a unit in the last place. At 8 bits that is 0.00006 steps: the checks allow it on top of half a step.
    """
    return 2.0 ** (num_bits - 22)


def expect_grid(x, q, scale, zero, low, high, num_bits, facts):
    """The rules of a uniform grid over [low, high], a range that contains 0, and of the codes of x on it.

    low and high, scale and zero are numbers, or tensors that broadcast against x.
    """
    levels = 2**num_bits - 1
    x, low, high, scale, zero = (torch.as_tensor(t).double() for t in (x, low, high, scale, zero))
    width = high - low
    expect_close(
        scale,
        width / levels,
        "scalefactor is the width of the range, widened to contain 0, divided by 2^num_bits - 1",
        within=width / levels * 2**-20,
        given=facts,
        hint="which numbers are the ends of the range here, and how many gaps lie between 2^num_bits codes?",
    )
    expect_close(
        zero,
        -low / scale,
        "zeropoint is the whole number nearest to -min / scalefactor",
        within=0.5 + slack(num_bits),
        given=facts,
        hint="rounded to nearest, neither cut off nor always rounded up",
    )
    expect_equal(
        zero, zero.round().clamp(0, levels), "zeropoint is a whole number from 0 to 2^num_bits - 1", given=facts
    )
    expect_equal(
        q,
        q.double().round().clamp(0, levels),
        "codes are whole numbers from 0 to 2^num_bits - 1",
        given=x,
        hint="round before the zero point is added, saturate last, at the codes of num_bits",
    )
    back = scale * (q.double() - zero)
    expect_close(
        back,
        torch.minimum(torch.maximum(x, low), high),
        "a value inside the range comes back within half a step, one outside as the end of the range",
        within=(width / levels * (0.5 + slack(num_bits))).expand(back.shape),
        given=x,
        hint="round to nearest, and with the very scalefactor and zeropoint that you return",
    )


def expect_codes(quantize_tensor, x, bounds=(None, None), num_bits=8):
    """The rules of quantize_tensor for one tensor, which does not change, and a range that is not of width 0."""
    facts = f"x of shape {tuple(x.shape)}, {x.dtype}, range {list(bounds)}, {num_bits} bits"
    rule, before = "every x and range that the docstring allows has a result", state_of(x)
    result = expect_returns(
        lambda: quantize_tensor(x, *bounds, num_bits), rule, given=facts, hint="look at the docstring"
    )
    expect_unchanged(
        before, state_of(x), "x itself is not changed", hint="avoid methods that end in _, and x[...] = ..."
    )
    q, scalefactor, zeropoint = result
    expect_type(q, torch.float32, "q is a float32 tensor of x's shape", shape=x.shape, given=facts, hint="here, too")
    types = "scalefactor is a Python float and zeropoint a Python int"
    expect_type(scalefactor, float, types, given=facts, hint=".item() turns a one-element tensor into a number")
    expect_type(zeropoint, int, types, given=facts, hint="round() of a Python float is an int; int() converts")
    low = float(x.min()) if bounds[0] is None else float(bounds[0])
    high = float(x.max()) if bounds[1] is None else float(bounds[1])
    expect_grid(x, q, scalefactor, zeropoint, min(low, 0.0), max(high, 0.0), num_bits, facts)


def expect_symmetric(quantize_symmetric, x, num_bits):
    """The rules of quantize_symmetric for one tensor, which does not change, and for its opposite."""
    facts = f"x of shape {tuple(x.shape)} from {float(x.min()):.6g} to {float(x.max()):.6g}, {x.dtype}, {num_bits} bits"
    rule, before = "every finite x is quantized by the same rules", state_of(x)
    result = expect_returns(lambda: quantize_symmetric(x, num_bits), rule, given=facts, hint="look at the docstring")
    expect_unchanged(before, state_of(x), "x itself is not changed", hint="avoid methods that end in _, such as abs_")
    q, scalefactor, zeropoint = result
    levels = 2 ** (num_bits - 1) - 1
    expected = float(x.abs().max()) / levels
    expect_close(
        scalefactor,
        expected,
        "scalefactor is max|x| / (2^(num_bits-1) - 1)",
        within=expected * 2**-20,
        given=facts,
        hint="127 steps on each side at 8 bits, and the largest value by size, whatever its sign",
    )
    expect_equal(zeropoint, 0, "zeropoint is 0", hint="codes carry a sign here, so nothing is added")
    types = "q is a float32 tensor, scalefactor a Python float and zeropoint the int 0"
    expect_type(q, torch.float32, types, given=facts, hint="keep the codes in floats here")
    expect_type(scalefactor, float, types, given=facts, hint=".item() turns a one-element tensor into a number")
    expect_type(zeropoint, int, types, given=facts, hint="0, not 0.0")
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
        within=expected * (0.5 + slack(num_bits)),
        given=x,
        hint="round to nearest; negative values too",
    )
    opposite = quantize_symmetric(-x, num_bits)[0]
    expect_equal(
        opposite, -q, "-x gets the codes -q", given=x, hint="round both signs alike; -2^(num_bits-1) is unused"
    )


def expect_channels(quantize_per_channel, w, axis, num_bits):
    """The rules of quantize_per_channel for one tensor, which does not change."""
    facts = f"w of shape {tuple(w.shape)}, {w.dtype}, axis {axis}, {num_bits} bits"
    before = state_of(w)
    rule = "axis says which dimension counts the channels, from the end if negative"
    hint = "reduce over all dimensions but this one; where does -1 point?"
    result = expect_returns(lambda: quantize_per_channel(w, axis, num_bits), rule, given=facts, hint=hint)
    q, scalefactors, zeropoints = result
    expect_unchanged(before, state_of(w), "w itself is not changed", hint="avoid methods that end in _ on w")
    shape = [1] * w.dim()
    shape[axis] = w.shape[axis]
    got = f"shapes {tuple(scalefactors.shape)} and {tuple(zeropoints.shape)}"
    wanted = f"shapes {tuple(shape)} and {tuple(shape)}"
    expect(got == wanted, rule, given=facts, expected=wanted, got=got, hint=hint)
    rule = "q and scalefactors are float32 tensors, and q has w's shape"
    expect_type(
        q, torch.float32, rule, shape=w.shape, given=facts, hint="convert w first; was it transposed on the way?"
    )
    expect_type(scalefactors, torch.float32, rule, given=facts, hint="convert w first")
    rows = w.double().movedim(axis, 0).reshape(w.shape[axis], -1)
    low, high = rows.amin(1).clamp(max=0).reshape(shape), rows.amax(1).clamp(min=0).reshape(shape)
    high = torch.where(low == high, 2.0**num_bits - 1, high)  # all zeros: scale factor 1, zero point 0
    expect_close(
        scalefactors,
        (high - low) / (2**num_bits - 1),
        "each channel has the scale factor of its own range, widened to contain 0",
        within=(high - low) / (2**num_bits - 1) * 2**-20,
        given=facts,
        hint="minimum and maximum over all dimensions except axis; a channel may lie wholly above or below 0",
    )
    rule = "zeropoints are whole numbers from 0 to 2^num_bits - 1"
    expect_equal(
        zeropoints, zeropoints.double().round().clamp(0, 2**num_bits - 1), rule, given=facts, hint="rounded, like codes"
    )
    expect_close(
        zeropoints,
        -low / scalefactors.double(),
        "each channel has the zero point of its own range",
        within=0.5 + slack(num_bits),
        given=facts,
        hint="round(-min / scalefactor), channel by channel",
    )
    expect_grid(w, q, scalefactors, zeropoints, low, high, num_bits, facts)


def expect_own_numbers(noise, variance, facts):
    """Independent noise of mean 0 agrees with itself, moved by any number of places or turned round, by chance only."""
    n = len(noise)
    spectrum = np.fft.rfft(noise.double().numpy(), 1 << (n - 1).bit_length())
    # sums over products of elements that are 1, 2, ... places apart, the end being followed by the beginning
    moved = np.fft.irfft(spectrum * spectrum.conj())[1:]
    turned = np.fft.irfft(spectrum * spectrum)  # of the first with the last, and so on
    # a sum of n products has the standard deviation variance * sqrt(n), and twice that if each comes twice
    worst = max(np.abs(moved).max() / 7, np.abs(turned).max() / 14) / (variance * math.sqrt(n))
    rule = "each element has a random number of its own"
    got = f"elements that agree {7 * worst:.1f} times as much as they do by chance"
    expect(worst < 1, rule, given=facts, got=got, hint="as many random numbers as elements, none used twice")


KINDS = (torch.float16, torch.float32, torch.float64, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def some_numbers(kind, g):
    """20 numbers of a dtype, of all sizes that it has (not all that float64 has), both ends among them."""
    if kind.is_floating_point:
        reach = {torch.float16: 4, torch.float32: 37, torch.float64: 100}[kind]
        powers = (torch.rand(20, generator=g, dtype=torch.float64) * 2 - 1) * reach
        return (torch.randn(20, generator=g, dtype=torch.float64) * 10.0**powers).to(kind)
    low, high = torch.iinfo(kind).min, torch.iinfo(kind).max
    numbers = torch.randint(low, high, (20,), generator=g)
    numbers[::2] >>= torch.randint(0, torch.iinfo(kind).bits - 1, (10,), generator=g)
    numbers[6:8] = torch.tensor([low, high])
    return numbers.to(kind)


def expect_measure(measure, x, y, expected, within, rule, facts, hint):
    """measure(x, y) is a Python float, right to nearly all digits of float64, and changes neither x nor y."""
    before = state_of(x, y)
    result = expect_returns(lambda: measure(x, y), rule, given=facts, hint=hint)
    expect_close(result, expected, rule, within=within, given=facts, hint=hint)
    hint = ".item() turns a one-element tensor into a number"
    expect_type(result, float, "the result is a Python float", given=facts, hint=hint)
    expect_unchanged(before, state_of(x, y), "x and y are not changed", hint="avoid -= and methods that end in _")


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
# (Thesis, equations 2.10 to 2.15.) Note the divisor: $2^n$ points have $2^n - 1$ gaps between them, like fence posts.
#
# **Why 0 must be on the grid.** Zero is not just any number. Padding is zero, ReLU makes zeros, pruned weights are
# zeros. If 0.0 came back as 0.003, every padded pixel would push every neuron a little, always in the same direction.
# So $Z$ is a *whole* number, and the range is **widened to contain 0** before $\Delta$ is computed: $a = \min(0,
# \text{smallest}),\; b = \max(0, \text{largest})$. (Without it the range $[2, 4]$ would get a $Z$ far below code 0.)
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
# - **Rounding.** Python's `round` and `torch.round` send a value exactly halfway to the even neighbour. So the zero
#   point of $[-1, 1]$ at 8 bits, 127.5, becomes 128: this is the convention of the whole course. (The checks let
#   halfway cases go either way.)
# - **A range of width 0.** All data are zeros, or the given bounds are 0 and 0. Then 0 is the only value there is. Any
#   scale factor will do; we take 1.0, so that nothing is divided by 0, and all codes are 0.
# - **NaN and infinity.** There is no code for NaN, and no finite step covers an infinite range. Refuse with a
#   `ValueError` that says why. But with a *given* range an infinite value just saturates.


# %% nbgrader={"grade_id": "quantize_tensor", "solution": true}
def quantize_tensor(x, min_val=None, max_val=None, num_bits=8):
    """Maps real numbers to codes 0 .. 2^num_bits - 1 on a uniform grid that contains 0.

    The range is [min_val, max_val], where None means the minimum or maximum of x, and then widened to contain 0.
    Unless it has width 0, it is 1e-30 to 3e38 wide. (Torch's default dtype is float32 in this lab.)

    Args:
        x: tensor of any shape without gradient, float16, float32 or float64, also a transposed one (not contiguous). It
            is not changed. Compute in float32 or better.
        min_val, max_val: numbers or None; you may round them to float32. Values of x outside the range saturate at the
            first or last code, infinite ones too.
        num_bits: whole number from 1 to 16.

    Returns:
        A tuple (q, scalefactor, zeropoint):
        q: new float32 tensor of x's shape that holds whole numbers from 0 to 2^num_bits - 1.
        scalefactor: Python float, the step, in the unit of x.
        zeropoint: Python int from 0 to 2^num_bits - 1, the code of 0.0.
        If the range has width 0, then scalefactor is 1.0, and zeropoint and every code are 0.

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
    if low == high:
        return torch.zeros_like(x), 1.0, 0
    levels = 2**num_bits - 1
    scalefactor = (high - low) / levels
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
    types = "scalefactor is a Python float and zeropoint a Python int"
    expect_type(scalefactor, float, types, hint=".item() turns a one-element tensor into a number")
    expect_type(zeropoint, int, types, hint="round() of a Python float is an int; int() converts")
    expect_type(q, torch.float32, "q is a float32 tensor", hint="keep the codes in floats here")
    expect_equal(
        q,
        [0, 57, 85, 142, 255],
        "a code is round(x / scalefactor) + zeropoint",
        given=x,
        hint="divide, round to nearest, then add the zero point",
    )
    x = torch.tensor([-1e30, -1.3e10, -1e9, -3.5, 6.5, 1e9, 1.3e10, 1e30])
    saturates = "a value outside the range saturates at code 0 or 2^num_bits - 1"
    hint = "after the zero point was added, and before any conversion to a short integer"
    expect_equal(quantize_tensor(x, -3.0, 6.0)[0], [0] * 4 + [255] * 4, saturates, given=x, hint=hint)
    expect_equal(quantize_tensor(x, -3.0, 6.0, 4)[0], [0] * 4 + [15] * 4, saturates, given=x, hint="num_bits is 4 here")
    rule = "the range is widened to contain 0"
    hint = "0 is the smallest or the largest value if x has none on that side"
    for values, width, code_of_0 in (([1.0, 5.0], 5, 0), ([-5.0, -1.0], 5, 15)):
        _, scalefactor, zeropoint = quantize_tensor(torch.tensor(values), num_bits=4)
        facts = f"x = {values}, 4 bits"
        expect_close(scalefactor, width / 15, rule, within=2**-20, given=f"{facts}; scalefactor", hint=hint)
        expect_equal(zeropoint, code_of_0, rule, given=f"{facts}; zeropoint", hint=hint)
    for num_bits in (1, 16):
        call = functools.partial(quantize_tensor, torch.tensor([-3.0, 6.0]), num_bits=num_bits)
        expect_returns(
            call, "num_bits may be any whole number from 1 to 16", given=f"num_bits={num_bits}", hint="both ends"
        )
    g = generator()
    for num_bits in (1, 2, 5, 8, 16):
        for shift in (0.0, 2.0, -2.0, 15.0, -15.0):
            expect_codes(quantize_tensor, torch.randn(3, 5, 20, generator=g) * 3 + shift, num_bits=num_bits)
    for bounds in ((0.5, 0.7), (-0.7, -0.5)):
        x = torch.randn(200, generator=g)
        facts = f"min_val={bounds[0]}, max_val={bounds[1]}, 8 bits: a given range is widened, too"
        expect_grid(x, *quantize_tensor(x, *bounds), min(bounds[0], 0.0), max(bounds[1], 0.0), 8, facts)
    x = torch.randn(200, generator=g).sort().values
    for bounds, low, high in (
        ((-1.7, 1.1), -1.7, 1.1),
        ((0.0, 2.0), 0.0, 2.0),
        ((-2.0, 0.0), -2.0, 0.0),
        ((-9.0, None), -9.0, float(x.max())),
        ((None, 9.0), float(x.min()), 9.0),
        ((0.0, None), 0.0, float(x.max())),
    ):
        facts = f"min_val={bounds[0]}, max_val={bounds[1]}, 8 bits"
        q, scalefactor, zeropoint = quantize_tensor(x, *bounds)
        expect_close(
            scalefactor,
            (high - low) / 255,
            "a bound counts as given unless it is None; 0.0 is a bound",
            within=(high - low) / 255 * 2**-20,
            given=facts,
            hint="each bound is taken from x only where it is None; 0.0 counts as false in an `if`",
        )
        expect_grid(x, q, scalefactor, zeropoint, low, high, 8, facts)
        expect((q.diff() >= 0).all(), "a larger value never gets a smaller code", given=facts, hint="saturate last")
        grid = (scalefactor * (q - zeropoint)).float()  # the scale factor is known to be the range's
        again = quantize_tensor(grid, *bounds)[0] if None not in bounds else q
        expect_equal(
            again, q, "grid points are mapped to themselves", given=q, hint="with the same range, so same grid"
        )
    ### BEGIN HIDDEN TESTS
    sizes = ((400,), (8, 50), (4, 2, 50), (2, 5, 4, 10), (2, 2, 2, 5, 10), (2, 200), (1, 400))
    for n in range(64):
        num_bits, dtype = n % 16 + 1, (torch.float32, torch.float64, torch.float16)[n % 3]
        power = torch.rand((), generator=g) * 62 - 28 if dtype != torch.float16 else torch.rand((), generator=g) * 4 - 1
        size = 10.0 ** float(power)
        x = torch.randn(sizes[n % 7], generator=g, dtype=torch.float64) + (0.0, 0.0, 4.0, -4.0, 20.0, -20.0)[n % 6]
        x = (x * size).to(dtype)
        x = x.T if n % 2 and x.dim() == 2 else x[..., ::3] if n % 5 == 1 else x
        expect_codes(quantize_tensor, x, num_bits=num_bits)
        low, high = ((torch.rand(2, generator=g) * torch.tensor([-4.0, 4.0])).double() * size).tolist()
        if n % 4 == 1:
            low, high = (high / 2, high) if n % 8 == 1 else (low, low / 2)
        for bounds in ((low, high), (float(x.min()) - abs(low), None), (None, float(x.max()) + abs(high))):
            if None not in bounds or n % 3 == 2:
                expect_codes(quantize_tensor, x, bounds, num_bits)
        infinite = x.clone()
        infinite[..., 1::4] = math.inf
        infinite[..., 2::4] = -math.inf
        expect_codes(quantize_tensor, infinite, (low, high), num_bits)
    x = torch.randn(300_007, generator=g)
    expect_codes(quantize_tensor, x)
    ### END HIDDEN TESTS

# %% [markdown]
# The second check goes through the unusual inputs that the docstring names. It has points of its own, so do not let it
# hold you up.

# %% nbgrader={"grade_id": "check_quantize_tensor_edges", "grade": true, "points": 2}
with check("quantize_tensor"):
    rule = "a range of width 0 gives scalefactor 1.0, zeropoint 0 and codes 0"
    hint = "data that are all zeros: there is no width to divide by"
    q, scalefactor, _ = expect_returns(lambda: quantize_tensor(torch.zeros(2, 3)), rule, given="x all zeros", hint=hint)
    expect_equal(scalefactor, 1.0, rule, given="x all zeros; scalefactor", hint=hint)
    expect_equal(q, torch.zeros(2, 3), rule, given="x all zeros", hint=hint)
    nan, inf = math.nan, math.inf
    refused = (
        (
            "NaN is refused with a ValueError",
            "look at x itself: a given range does not help NaN",
            (
                *(([1.0, nan],), ([[nan], [1.0]], -1.0, 1.0), ([nan, 0.0], 0.0, 0.0), (nan, 0, 1), ([0.0, nan], 0)),
                *(([inf, nan], -1.0, 1.0), ([1.0] * 200_002 + [nan], 0.0, 1.0)),
            ),
        ),
        (
            "an empty x needs both bounds: without them a ValueError, with them an empty q",
            "ask for the number of elements: x.min() of nothing is a RuntimeError",
            (([],), ([], -1.0), ([], None, 1.0)),
        ),
        (
            "a bound that is infinite or NaN is refused with a ValueError",
            "look at the two bounds when both are known, whether given or taken from x",
            (
                *(([0.0, 1.0], -inf), ([0.0, 1.0], None, inf), ([0.0, 1.0], nan, 1.0), ([0.0, 1.0], None, nan)),
                *(([0.0, inf],), ([-inf, 1.0],), ([0.0, inf], -1.0), ([0.0, -inf], None, 1.0), ([], -inf, 1.0)),
                *(
                    ([], nan, nan),
                    ([], 0.0, inf),
                    ([inf],),
                    ([-inf], None, 0.0),
                    ([0.0, 0.0], 0.0, nan),
                    ([0.0], -inf, inf),
                ),
            ),
        ),
        (
            "min_val greater than max_val is refused with a ValueError",
            "compare before you widen the range: widening can hide the mistake",
            (
                *(([0.0, 1.0], 1.0, -1.0), ([0.0, 1.0], 3.0, 2.0), ([0.0, 1.0], -2.0, -3.0)),
                *(([0.0, 1.0], 1.5), ([1.0, 2.0], None, 0.5), ([], 2.0, 1.0), ([0.0, 0.0], 1e-30), ([0.0], 0, -1e-30)),
                *(([-2.0, -1.0], -0.5), ([-2.0, -1.0], None, -2.5), ([5.0], 1.0001, 1.0), ([], 0.0, -1.0)),
            ),
        ),
        (
            "num_bits outside 1 .. 16 is refused with a ValueError",
            "test it first of all",
            (
                *(([0.0, 1.0], None, None, 0), ([0.0, 1.0], -1.0, 1.0, 17), ([0.0, 0.0], None, None, -1)),
                *(([0.0, 0.0], 0, 0, 32), ([], -1.0, 1.0, 17), ([], 0, 0, 0), ([inf], 0.0, 0.0, 17)),
            ),
        ),
    )
    for rule, hint, cases in refused:
        for values, *arguments in cases:
            for dtype in (torch.float32, torch.float64):
                x = torch.tensor(values, dtype=dtype)
                expect_raises(
                    ValueError,
                    lambda x=x, arguments=arguments: quantize_tensor(x, *arguments),
                    rule,
                    given=f"x = {x.tolist()[:9] if x.dim() else values}, then {arguments}",
                    hint=hint,
                )
    rule = "an empty x needs both bounds: without them a ValueError, with them an empty q"
    for bounds, code_of_0 in (((-3.0, 6.0), 85), ((0.0, 6.0), 0), ((-3.0, 0.0), 255)):
        call = functools.partial(quantize_tensor, torch.zeros(0, 4), *bounds)
        facts = f"shape (0, 4), range {list(bounds)}"
        q, _, zeropoint = expect_returns(call, rule, given=facts, hint="nothing is missing; 0.0 is a bound, too")
        expect_equal(q, torch.zeros(0, 4), rule, given=facts, hint="q has x's shape")
        expect_equal(zeropoint, code_of_0, rule, given=facts, hint="the range alone decides the zero point")
    rule = "min_val and max_val may be equal, since the range is widened afterwards"
    result = expect_returns(
        lambda: quantize_tensor(torch.ones(1), 1.0, 1.0), rule, given="both 1.0", hint="greater only"
    )
    expect_grid(torch.ones(1), *result, 0.0, 1.0, 8, "min_val=1.0, max_val=1.0")
    result = quantize_tensor(-torch.ones(1), -1.0, -1.0)
    expect_grid(-torch.ones(1), *result, -1.0, 0.0, 8, "min_val=-1.0, max_val=-1.0")
    rule = "an infinite value saturates if its bound is given"
    for values, bounds, expected in (
        ([-inf, 0.0, inf], (-3.0, 6.0), [0, 85, 255]),
        ([-inf, 0.0, 6.0], (-3.0, None), [0, 85, 255]),
    ):
        x = torch.tensor(values)
        hint = "refuse infinite bounds, not infinite values; and take no bound from x that is given"
        q, _, _ = expect_returns(lambda x=x, bounds=bounds: quantize_tensor(x, *bounds), rule, given=x, hint=hint)
        expect_equal(q, expected, rule, given=x, hint=hint)
    g = generator()
    for dtype in (torch.float16, torch.float64):
        x = (torch.randn(800, generator=g) * 2).to(dtype)
        before = x.clone()
        q, scalefactor, zeropoint = quantize_tensor(x)
        rule = "float16 and float64 input gives float32 codes, computed in float32 or better"
        hint = "convert x first: float16 has 11 significant bits, too few for x / scalefactor"
        expect(q.dtype == torch.float32, rule, given=dtype, expected=torch.float32, got=q.dtype, hint=hint)
        back = scalefactor * (q.double() - zeropoint)
        expect_close(back, x, rule, within=scalefactor * (0.5 + slack(8)), given=x, hint=hint)
        expect(x.dtype == dtype and bool((x == before).all()), "x itself is not changed", given=dtype, got=x.dtype)
    for constant in (3.5, -0.7, 1e-30, -1e30):
        x = torch.full((4,), constant)
        q, scalefactor, zeropoint = quantize_tensor(x)
        rule = "a constant tensor is an ordinary one: its range reaches from 0 to the constant"
        hint = "only a width of exactly 0 is special; no threshold like 1e-8"
        back = scalefactor * (q.double() - zeropoint)
        expect_close(back, x, rule, within=abs(constant) * 2**-20, given=x, hint=hint)
    x = torch.tensor([1e38, 1e38, 1e38, 1e38])
    rule = "every finite x has a range, also one whose sum is infinite"
    result = expect_returns(lambda: quantize_tensor(x), rule, given=x, hint="look at the bounds, or at each element")
    expect_grid(x, *result, 0.0, float(x[0]), 8, "four times 1e38, 8 bits")
    rule = "x may have any shape, and lie in memory in any order"
    got = expect_returns(lambda: quantize_tensor(torch.tensor(2.5))[0], rule, given="tensor(2.5)", hint="a shape ()")
    expect_equal(got, torch.tensor(255.0), rule, given="tensor(2.5)", hint="a single number has the shape ()")
    x = torch.arange(-3.0, 3.0).reshape(2, 3).T
    got = expect_returns(lambda: quantize_tensor(x)[0], rule, given="a transposed tensor", hint=".view refuses it")
    expect_equal(got, [[0, 153], [51, 204], [102, 255]], rule, given="a transposed tensor", hint="the shape stays")
    rule = "a range of width 0 gives scalefactor 1.0, zeropoint 0 and codes 0"
    hint = "data that are all zeros, or the bounds 0 and 0: there is one value left, and no width to divide by"
    wide = torch.zeros(2, 3, dtype=torch.float64)
    none = torch.zeros(0, 3)
    for x, bounds in (
        *((wide, ()), (wide.half(), ()), (torch.tensor([5.0, -inf, 0.0]), (0, 0)), (none, (0.0, 0.0))),
        *((none.double(), (0, 0)), (torch.tensor(-0.0), ()), (-wide.T, ()), (wide, (0.0, None)), (wide, (None, 0))),
    ):
        facts = f"x = {x.tolist()}, bounds {bounds}"
        q, scalefactor, zeropoint = expect_returns(
            lambda x=x, bounds=bounds: quantize_tensor(x, *bounds), rule, given=facts, hint=hint
        )
        expect_equal(scalefactor, 1.0, rule, given=f"{facts}; scalefactor", hint=hint)
        expect_equal(zeropoint, 0, rule, given=f"{facts}; zeropoint", hint=hint)
        expect_equal(q, torch.zeros(x.shape), rule, given=f"{facts}; q", hint=hint)
        types = "scalefactor is a Python float and zeropoint a Python int"
        expect_type(scalefactor, float, types, given=facts, hint=".item() turns a one-element tensor into a number")
        expect_type(zeropoint, int, types, given=facts, hint="0, not 0.0")
        expect_type(q, torch.float32, "q is a float32 tensor", given=facts, hint="here, too")
    own = "q is a tensor of its own, for the numbers that x holds now"
    sets = [(torch.tensor(values), -3.0, 6.0) for values in ([0.0, 1.0, 85.0], [2.0, -3.0, 6.0], [6.0, 7.0, 0.0])]
    for dtype in (torch.float32, torch.float64, torch.float16):
        for got in reused(quantize_tensor, [(x.to(dtype), *bounds) for x, *bounds in sets]):
            wanted = [torch.tensor(q) for q in ([85.0, 113.0, 255.0], [142.0, 0.0, 255.0], [255.0, 255.0, 85.0])]
            given = f"range [-3, 6]; three times three numbers, written into one {dtype} tensor one after the other"
            expect_equal([q for q, _, _ in got], wanted, own, given=given, hint="keep nothing")
    sets = [(torch.tensor(values),) for values in ([-3.0, 6.0], [0.0, 255.0], [-51.0, 0.0])]
    for got in reused(quantize_tensor, sets):
        given = "[-3, 6], [0, 255], [-51, 0], written into one tensor one after the other; zero points"
        expect_equal([z for _, _, z in got], [85, 0, 255], own, given=given, hint="keep nothing")
    sizes = (1e-30, 1e-26, 1e-12, 1e10, 1.4e38)
    for size, dtype in ((size, dtype) for size in sizes for dtype in (torch.float32, torch.float64)):
        x = torch.linspace(-1, 1, 11, dtype=dtype) * size
        for bounds in ((None, None), (0, size), (-size / 2, None), (-size, size)):
            expect_codes(quantize_tensor, x, bounds)
    x = torch.linspace(-1.0, 1.0, 11)
    for dtype in (torch.float16, torch.float32, torch.float64):
        for bounds in ((-0.1, 0.3), (-0.7777, None), (None, 0.3333), (-3, 2), (-1, None)):
            expect_codes(quantize_tensor, x.to(dtype), bounds, 12)
            infinite = torch.where(x.abs() > 0.7, math.inf * x, x).to(dtype)
            if None not in bounds:
                expect_codes(quantize_tensor, infinite, bounds)
    x = torch.sin(torch.arange(200_003.0))
    x[99_999], x[-1] = -5.0, 7.0
    expect_codes(quantize_tensor, x)
    ### BEGIN HIDDEN TESTS
    empty = torch.zeros(2, 0, 3)
    nans, infinite = torch.randn(2, 3, 40, generator=g), torch.randn(2, 3, 40, generator=g)
    nans[1, 2, 30], infinite[0, 1, 7] = nan, inf
    for number, x, *arguments in (
        *((0, nans), (0, nans, -1.0), (0, nans, None, 1.0), (0, nans, 0.0, 0.0), (0, torch.tensor([nan, inf]), -1, 1)),
        *((1, empty), (1, empty, None, 2.0), (1, empty, 0.0)),
        *((2, infinite), (2, -infinite), (2, nans[0], -inf, inf), (2, nans[0], 0.0, nan), (2, empty, nan, 1.0)),
        *((3, nans[0], 100.0), (3, nans[0], None, -100.0), (3, empty, 0.5, 0.25), (3, nans[0], 0.0, -1.0)),
        *((0, nans.double(), -1.0, 1.0, 3), (0, nans.half(), 0, 0), (2, infinite.half()), (2, infinite.double(), -9)),
        *((3, nans[0] * 0, 1e-3), (3, nans[0] * 0 - 1, 0), (3, nans[0] * 0, None, -1e-3), (4, empty, 0, 1, 17)),
        *((4, nans[0] * 0, 0, 0, 0), (4, nans[0].double(), None, None, 99), (2, empty.half(), -inf, inf)),
        *((4, nans[0], -1.0, 1.0, bits) for bits in (0, -3, 17, 32)),
    ):
        rule, hint, _ = refused[number]
        expect_raises(
            ValueError,
            lambda x=x, arguments=arguments: quantize_tensor(x, *arguments),
            rule,
            given=f"x of shape {tuple(x.shape)}, then {arguments}",
            hint=hint,
        )
    low, high = (torch.rand(2, generator=g) * 5 + 0.1).tolist()
    for bounds, code_of_0 in (((-low, 0), 15), ((0, high), 0), ((-high, high * 4), 3)):
        call = functools.partial(quantize_tensor, empty, *bounds, 4)
        q, _, zeropoint = expect_returns(call, refused[1][0], given=f"shape (2, 0, 3), range {list(bounds)}")
        expect_equal(q, empty, refused[1][0], given=f"shape (2, 0, 3), range {list(bounds)}")
        expect_equal(zeropoint, code_of_0, refused[1][0], given=f"shape (2, 0, 3), range {list(bounds)}, 4 bits")
    x = torch.randn(5, 7, generator=g)
    rule = "x may have any shape, and lie in memory in any order"
    for part in (x.T, x[:, ::2], x[1]):
        got = expect_returns(
            lambda part=part: quantize_tensor(part)[0], rule, given="part of a tensor", hint="no .view"
        )
        expected = quantize_tensor(part.contiguous())[0]
        expect_equal(got, expected, rule, given="part of a tensor", hint="the same values, the same codes")
    x = torch.tensor([7.0, -7.0, inf, -inf])
    rule = "a range of width 0 gives scalefactor 1.0, zeropoint 0 and codes 0"
    expect_equal(quantize_tensor(x, 0, 0)[0], torch.zeros(4), rule, given=x, hint="bounds 0 and 0")
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
        q: tensor of whole numbers of any shape; float32, uint8, int8, int16, int32 or int64. The numbers, and those of
            zeropoint, are at most 2^24 in size: float32 holds them exactly.
        scalefactor: a number from 1e-30 to 1e30, or a float32 or float64 tensor of such that broadcasts against q.
        zeropoint: a number, or a tensor of any of q's dtypes that broadcasts against q.
        None of them is changed.

    Returns:
        New float32 tensor of q's shape, right to float32's precision. The code zeropoint gives exactly 0.0.
    """
    ### BEGIN SOLUTION
    return (scalefactor * (q.float() - zeropoint)).float()
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_dequantize_tensor", "grade": true, "points": 2}
with check("dequantize_tensor"):
    q = torch.tensor([0.0, 57.0, 85.0, 142.0, 255.0])
    numbers = "scalefactor and zeropoint may be Python numbers"
    x = expect_returns(
        lambda: dequantize_tensor(q, 9 / 255, 85), numbers, given=q, hint="no methods of tensors on them"
    )
    unchanged = "q itself is not changed"
    expect_equal(q, [0, 57, 85, 142, 255], unchanged, hint="avoid -= and methods that end in _ on q")
    expect(
        isinstance(x, torch.Tensor) and x.dtype == torch.float32,
        "the result is a float32 tensor",
        got=getattr(x, "dtype", type(x).__name__),
        hint="convert q, or the result",
    )
    value = "a code q means scalefactor * (q - zeropoint)"
    expect_close(
        x, 9 / 255 * (q.double() - 85), value, within=9 * 2**-22, given=q, hint="subtract first, then multiply"
    )
    exact = "the zero point means exactly 0.0"
    expect_equal(x[2], 0.0, exact, given="q = zeropoint = 85", hint="subtract before you multiply")
    g = generator()
    for levels in (1, 15, 255, 65535):
        q = torch.randint(0, levels + 1, (4, 3, 25), generator=g).float()
        for scalefactor, zeropoint in ((0.3, 0), (1e-3, levels), (7.1, levels // 3)):
            facts = f"scalefactor {scalefactor}, zeropoint {zeropoint}, codes up to {levels}"
            x = dequantize_tensor(q, scalefactor, zeropoint)
            expected = scalefactor * (q.double() - zeropoint)
            expect_close(x, expected, value, within=expected.abs() * 2**-22, given=facts)
            x = dequantize_tensor(torch.full((3,), float(zeropoint)), scalefactor, zeropoint)
            expect_equal(x, torch.zeros(3), exact, given=facts, hint="subtract before you multiply")
    ### BEGIN HIDDEN TESTS
    for levels in (1, 7, 255, 4095, 65535):
        q = torch.randint(0, levels + 1, (2, 3, 40), generator=g).float()
        before = q.clone()
        for _ in range(5):
            scalefactor = float(torch.rand((), generator=g, dtype=torch.float64) * 3 + 1e-3)
            zeropoint = int(torch.randint(0, levels + 1, (), generator=g))
            facts = f"scalefactor {scalefactor}, zeropoint {zeropoint}, codes up to {levels}"
            x = dequantize_tensor(q, scalefactor, zeropoint)
            expect_equal(q, before, unchanged, hint="avoid -= and methods that end in _ on q")
            expected = scalefactor * (q.double() - zeropoint)
            expect_close(x, expected, value, within=expected.abs() * 2**-22, given=facts)
            x = dequantize_tensor(torch.full((3,), float(zeropoint)), scalefactor, zeropoint)
            expect_equal(x, torch.zeros(3), exact, given=facts, hint="subtract before you multiply")
    ### END HIDDEN TESTS


# %% nbgrader={"grade_id": "check_dequantize_tensor_edges", "grade": true, "points": 1}
def expect_real(q, scalefactor, zeropoint, rule, facts, hint):
    """q, which does not change, means scalefactor * (q - zeropoint) in float32."""
    before = state_of(q, scalefactor, zeropoint)
    step, zero = (torch.as_tensor(v, dtype=torch.float64).clone() for v in (scalefactor, zeropoint))
    expected = step * (q.double() - zero)
    x = expect_returns(lambda: dequantize_tensor(q, scalefactor, zeropoint), rule, given=facts, hint=hint)
    unchanged = "q, scalefactor and zeropoint are not changed"
    expect_unchanged(before, state_of(q, scalefactor, zeropoint), unchanged, hint="avoid -= and methods that end in _")
    # two roundings of an operand or result, one more if the difference passes 2^24
    expect_close(x, expected, rule, within=expected.abs() * 2**-22, given=facts, hint=hint)
    types = "the result is a float32 tensor of q's shape"
    expect_type(x, torch.float32, types, shape=q.shape, given=facts, hint="convert it")


with check("dequantize_tensor"):
    wraps = "integer codes are converted before the subtraction"
    hint_wraps = "uint8 wraps around: 10 - 85 gives 181; and 16 bits are too few for 2^24"
    ranges = {torch.uint8: (0, 255), torch.int8: (-128, 127), torch.int16: (-(2**15), 2**15 - 1)}
    ranges |= dict.fromkeys((torch.int32, torch.int64, torch.float32), (-(2**24), 2**24))
    for dtype, (low, high) in ranges.items():
        q = torch.tensor([low, 10, 85, high]).to(dtype)
        for zeropoint in (0, 85, high, low, -1000):
            expect_real(q, 0.5, zeropoint, wraps, f"{dtype} codes {q.tolist()}, zeropoint {zeropoint}", hint_wraps)
    q = torch.tensor([[10, 85, 255], [0, 1, 2]], dtype=torch.uint8)
    rule = "scalefactor and zeropoint may be tensors that broadcast against q"
    hint = "leave the broadcasting to torch; float(...) or .item() takes single numbers only"
    for dtype in (torch.float32, torch.float64, torch.uint8):
        scales, zeros = torch.tensor([[2.0], [0.5]]), torch.tensor([[85.0], [2.0]])
        facts = f"uint8 codes, a column of scale factors, zero points in {dtype}"
        expect_real(q, scales.double() if dtype == torch.float64 else scales, zeros.to(dtype), rule, facts, hint)
        expect_real(q, 0.5, zeros.to(dtype), rule, facts, hint)
        expect_real(q, scales, 85, rule, facts, hint)
        expect_real(q, 0.5, torch.tensor([85, 2, 1]).to(dtype), rule, f"{facts} of each column", hint)
    rule = "scale factors may be of any size that the docstring allows"
    for scale in (1e-30, 3e-17, 1e-9, 7e12, 1e30):
        for codes in (torch.tensor([0, 10, 85, 255], dtype=torch.uint8), torch.tensor([0.0, 1.0, 2.0**24, 85.0])):
            hint = "float32 holds it: no least scale factor, no other dtype"
            for step in (scale, *(torch.tensor([scale] * 4, dtype=dtype) for dtype in (torch.float32, torch.float64))):
                expect_real(codes, step, 85, rule, f"{codes.dtype} codes, scale factor {scale}", hint)
    codes = torch.arange(200_003)
    rule = "a code q means scalefactor * (q - zeropoint)"
    expect_real(codes, 0.3, 77, rule, "200,003 codes", "the last one, too")
    own = "the result is a tensor of its own, for the codes that q holds now"
    for dtype in (torch.float32, torch.uint8, torch.int64):
        for scale, zero in ((0.5, 3), (1.0, 0), (1, 0)):
            sets = [(torch.tensor(codes, dtype=dtype), scale, zero) for codes in ([0, 3], [7, 255], [0, 3])]
            for got in reused(dequantize_tensor, sets):
                wanted = [scale * (q.float() - zero) for q, *_ in sets]
                given = f"[0, 3], [7, 255], [0, 3], written into one {dtype} tensor, scale {scale}, zero point {zero}"
                expect_equal(got, wanted, own, given=given, hint="never q itself")
    rule = "q may have any shape, an empty one too"
    for shape in ((), (0, 2), (1, 2, 1)):
        q = torch.full(shape, 7.0)
        expect_real(q, 0.5, 3, rule, f"shape {shape}", "q's shape stays")
        half = torch.tensor(0.5, dtype=torch.float64)
        expect_real(q, half, 3, rule, f"shape {shape}, a float64 scale factor", "float32 in the end")
    rule = "q, scalefactor and zeropoint may each have a dtype of their own"
    hint = "convert before the subtraction; torch's common dtype of two integer tensors may be too short"
    for codes, zero in (
        (torch.tensor([-(2**15), 7], dtype=torch.int16), torch.tensor(85, dtype=torch.uint8)),
        (torch.tensor([0, 255], dtype=torch.uint8), torch.tensor(40000)),
        (torch.tensor([0, 255], dtype=torch.uint8), 85),
        (torch.tensor([127, -128], dtype=torch.int8), torch.tensor([-(2**15), 2**15 - 1], dtype=torch.int16)),
        (torch.tensor([3.0, 2.0**24]), torch.tensor([85, 2], dtype=torch.int32)),
    ):
        for scale in (2, 0.5, torch.tensor([0.5, 2.0], dtype=torch.float64)):
            facts = f"{codes.dtype} codes, zero point {zero}, scale factor {scale}"
            expect_real(codes, scale, zero, rule, facts, hint)
    q, column = torch.arange(12, dtype=torch.uint8).reshape(2, 3, 2, 1), torch.tensor([0.5, 1.0, 2.0])
    rule = "scalefactor and zeropoint may be tensors that broadcast against q"
    hint = "leave the broadcasting to torch: their shapes say along which dimension they lie"
    expect_real(q, column.reshape(1, 3, 1, 1), 5, rule, "q of shape (2, 3, 2, 1), scale factors (1, 3, 1, 1)", hint)
    ### BEGIN HIDDEN TESTS
    g = generator()
    for dtype, (low, high) in ranges.items():
        q = torch.randint(low, high + 1, (60,), generator=g).to(dtype)
        for zeropoint in (0, 100, high):
            expect_real(q, 0.25, zeropoint, wraps, f"{dtype} codes, zeropoint {zeropoint}", hint_wraps)
    q = torch.randint(0, 256, (3, 4, 5), generator=g).float()
    for shape in ((3, 1, 1), (1, 4, 1), (1, 1, 5), (3, 4, 5), (5,)):
        scalefactor = torch.rand(shape, generator=g) + 0.1
        zeropoint = torch.randint(0, 256, shape, generator=g)
        rule = "scalefactor and zeropoint may be tensors that broadcast against q"
        for codes, zeros in ((q, zeropoint.float()), (q.to(torch.uint8), zeropoint.to(torch.uint8))):
            expect_real(codes, scalefactor, zeros, rule, f"shape {shape}, {zeros.dtype}", hint)
            expect_real(codes, scalefactor.double(), zeros, rule, f"shape {shape}, float64 scale factors", hint)
            expect_real(codes.transpose(0, 2), scalefactor.double().sum(), 3, rule, "transposed", hint)
    kinds = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float32]
    for left in kinds:
        for right in kinds:
            low, high = ranges[left]
            q = torch.randint(low, high + 1, (3, 8), generator=g).to(left)
            low, high = ranges[right]
            zeros = torch.randint(low, high + 1, (3, 1), generator=g).to(right)
            scale = 10.0 ** (torch.rand(3, 1, generator=g, dtype=torch.float64) * 58 - 29)
            facts, rule = f"{left} codes, zero points in {right}", "each may have a dtype of its own"
            for step in (scale, scale.float(), float(scale[1]), 2):
                expect_real(q, step, zeros, rule, facts, hint)
                expect_real(q, step, int(zeros[0]), rule, facts, hint)
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
# 2. All values above 2 are cut to about 2 and suffer. Values between −3 and 2 gain on average, because the steps are
#    5/9 as wide. Not each of them: about one in six lay nearer to a point of the coarse grid, by luck.
# 3. Yes. Values near the ends are rare, so cutting them costs little, and the finer steps serve all others, on
#    average. Watch the SQNR in the line of numbers while you pull both ends in: it rises, has a best place, and falls.
#    Pull only one end, and it also jumps now and then: where the rounded zero point moves by one, the grid shifts.
# </details>

# %% tags=["explore"]
from course_utils.demos import staircase_demo, staircase_still

activations = torch.randn(4000, generator=torch.Generator().manual_seed(0)).mul(1.4).add(1.0).clamp(-3, 6)
staircase_demo(quantize_tensor, dequantize_tensor, activations)

# %% [markdown]
# No sliders to be seen? Three settings side by side: 3 bits over the whole range; 5 bits over it, 7/31 of the step; 3
# bits over $[-1, 3]$: fine steps inside, large errors outside.

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
# A signed byte can also hold −128. We leave it unused, so that $-x$ always gets the code $-q$.


# %% nbgrader={"grade_id": "quantize_symmetric", "solution": true}
def quantize_symmetric(x, num_bits=8):
    """Maps real numbers to signed codes with zero point 0.

    Args:
        x: tensor of any shape without gradient, float16, float32 or float64, also a transposed one (not contiguous). It
            is not changed. Compute in float32 or better.
        num_bits: whole number from 2 to 16. (With 1 bit no code but 0 would be left.)

    Returns:
        A tuple (q, scalefactor, zeropoint), so that dequantize_tensor takes it as it is:
        q: new float32 tensor of x's shape, whole numbers from -(2^(num_bits-1) - 1) to 2^(num_bits-1) - 1. A value
            halfway between two codes may go to either, but -x always gets the codes -q.
        scalefactor: Python float, max|x| / (2^(num_bits-1) - 1); 1.0 if x is all zeros. Otherwise max|x| is at least
            1e-30, or the smallest float16 number.
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
    expect_close(
        result[1],
        0.02,
        "scalefactor is max|x| / (2^(num_bits-1) - 1)",
        within=0.02 * 2**-20,
        given=x,
        hint="127 steps on each side at 8 bits, and the largest value by size, whatever its sign",
    )
    expect_equal(result[2], 0, "zeropoint is 0", hint="codes carry a sign here, so nothing is added")
    code = "a code is round(x / scalefactor), with its sign"
    expect_equal(result[0], [-127, -25, 0, 17, 50], code, given=x, hint="round to nearest")
    for num_bits in (2, 3, 16):
        call = functools.partial(quantize_symmetric, x, num_bits)
        expect_returns(
            call, "num_bits may be any whole number from 2 to 16", given=f"num_bits={num_bits}", hint="both ends"
        )
    g = generator()
    for num_bits in (2, 3, 8, 16):
        for shift in (0.0, 3.0, -3.0):
            x = torch.randn(4, 50, generator=g) * 2 + shift
            expect_symmetric(quantize_symmetric, x, num_bits)
    ### BEGIN HIDDEN TESTS
    for n in range(45):
        num_bits, dtype = n % 15 + 2, (torch.float32, torch.float64, torch.float16)[n // 15]
        power = torch.rand((), generator=g) * 66 - 29 if dtype != torch.float16 else torch.rand((), generator=g) * 6 - 3
        x = torch.randn(6, 9, generator=g, dtype=torch.float64) + (0.0, 3.0, -3.0)[n % 3]
        x = (x * 10.0 ** float(power)).to(dtype)
        expect_symmetric(quantize_symmetric, [x, x.T, x[:, ::2], x.flatten()[:1], x.abs(), -x.abs()][n % 6], num_bits)
        halves = (torch.arange(-9, 10) + 0.5).to(dtype) / 2 ** (n % 8)
        expect_symmetric(quantize_symmetric, torch.cat([halves, halves.new_tensor([127 / 2 ** (n % 8)])]), 16)
    expect_symmetric(quantize_symmetric, torch.randn(300_007, generator=g), 8)
    for num_bits in (2, 4, 5, 8, 12, 16):
        for shift in (0.0, 5.0, -4.0, 20.0, -20.0):
            x = torch.randn(5, 3, 20, generator=g) * 2 + shift
            expect_symmetric(quantize_symmetric, x, num_bits)
    ### END HIDDEN TESTS


# %% nbgrader={"grade_id": "check_quantize_symmetric_edges", "grade": true, "points": 1}
with check("quantize_symmetric"):
    rule = "an all-zero x gives scalefactor 1.0 and codes 0"
    hint = "max|x| is 0 here; do not divide by it"
    types = "q is a float32 tensor, scalefactor a Python float and zeropoint the int 0"
    zeros = torch.tensor([0.0, -0.0, 0.0])
    for x in (zeros, zeros.half(), zeros.double(), -zeros[1]):
        facts = f"x all zeros, {x.dtype}, shape {tuple(x.shape)}"
        q, scalefactor, zeropoint = expect_returns(lambda x=x: quantize_symmetric(x), rule, given=facts, hint=hint)
        expect_equal(scalefactor, 1.0, rule, given=facts, hint=hint)
        expect_equal(q, torch.zeros(x.shape), rule, given=facts, hint=hint)
        expect_equal(zeropoint, 0, "zeropoint is 0", given=facts)
        expect_type(q, torch.float32, types, given=facts, hint="here, too")
        expect_type(scalefactor, float, types, given=facts, hint="a number, no tensor")
    bits_rule = "num_bits outside 2 .. 16 is refused with a ValueError"
    for num_bits in (1, 17, 0, -3, 32):
        for values in ([0.5, -1.0], [0.0], [], [math.nan]):
            hint = "with 1 bit, 2^(num_bits-1) - 1 is 0"
            expect_raises(
                ValueError,
                lambda values=values, n=num_bits: quantize_symmetric(torch.tensor(values), n),
                bits_rule,
                given=f"x = {values}, num_bits={num_bits}",
                hint=hint,
            )
    finite_rule = "an x that is empty or has NaN or infinity is refused with a ValueError"
    lots = [1.0] * 200_002
    for values in ([1.0, math.nan], [math.inf, 0.0], [0.0, -math.inf], [], [[], []], math.nan, [*lots, -math.inf]):
        for dtype in (torch.float32, torch.float16, torch.float64):
            x = torch.tensor(values, dtype=dtype)
            expect_raises(
                ValueError,
                lambda x=x: quantize_symmetric(x),
                finite_rule,
                given=f"{dtype}, {str(values)[-40:]}",
                hint="three things to ask of x, before anything else",
            )
    g = generator()
    for dtype in (torch.float16, torch.float64):
        x = (torch.randn(800, generator=g) * 2).to(dtype)
        q, scalefactor, _ = quantize_symmetric(x)
        rule = "float16 and float64 input gives float32 codes, computed in float32 or better"
        hint = "convert x first: float16 has 11 significant bits, too few for x / scalefactor"
        expect(q.dtype == torch.float32, rule, given=dtype, expected=torch.float32, got=q.dtype, hint=hint)
        within = scalefactor * (0.5 + slack(8))
        expect_close(scalefactor * q.double(), x, rule, within=within, given=x, hint=hint)
        expect(x.dtype == dtype, "x itself is not changed", given=dtype, got=x.dtype)
    for constant in (-1e-30, 1e30):
        x = torch.full((2, 2), constant)
        rule = "very small and very large values are ordinary ones"
        hint = "no threshold like 1e-8 for the largest value"
        q, scalefactor, _ = expect_returns(lambda x=x: quantize_symmetric(x), rule, given=x, hint=hint)
        expect_close(scalefactor * q.double(), x, rule, within=abs(constant) * 2**-20, given=x, hint=hint)
    rule = "x may have any shape, and lie in memory in any order"
    got = expect_returns(lambda: quantize_symmetric(torch.tensor(-2.5))[0], rule, given="tensor(-2.5)")
    expect_equal(got, torch.tensor(-127.0), rule, given="tensor(-2.5)", hint="a single number has the shape ()")
    for values, dtype in (
        ([[3e38, 3e38], [-1e38, 0.0]], torch.float32),  # their sum is infinite
        ([[3.0, -3.0], [1.1, -1.1]], torch.float32),  # theirs is 0
        ([[-3.0, -2.0], [-1.1, -0.5]], torch.float16),
        ([[2.0**-20, 2.0**-22], [0.0, -(2.0**-21)]], torch.float16),
    ):
        x = torch.tensor(values, dtype=dtype)
        for num_bits in (8, 16):
            expect_symmetric(quantize_symmetric, x, num_bits)
    x = torch.tensor([2.0, 1.0, -1.0])
    q, rule = quantize_symmetric(x)[0], "-x gets the codes -q, halfway between two codes, too"
    expect_equal(q[1], -q[2], rule, given=x, hint="1.0 lies 63.5 steps from 0; torch.round treats both signs alike")
    rule = "x may have any shape, and lie in memory in any order"
    x = torch.tensor([[1.1, 2.0], [-2.0, 0.5]]).T
    got = expect_returns(lambda: quantize_symmetric(x)[0], rule, given="a transposed tensor", hint=".view refuses it")
    expect_equal(got, [[70, -127], [127, 32]], rule, given="a transposed tensor", hint="the shape stays")
    own = "q is a tensor of its own, for the numbers that x holds now"
    for dtype in (torch.float32, torch.float64, torch.float16):
        sets = [
            (torch.tensor(values, dtype=dtype),) for values in ([127.0, -3.0], [5.0, 127.0], [0.0, 0.0], [-1.0, 1.0])
        ]
        for got in reused(quantize_symmetric, sets):
            wanted = [torch.tensor(q) for q in ([127.0, -3.0], [5.0, 127.0], [0.0, 0.0], [-127.0, 127.0])]
            given = f"[127, -3], [5, 127], [0, 0], [-1, 1], written into one {dtype} tensor one after the other"
            expect_equal([q for q, _, _ in got], wanted, own, given=given, hint="never x itself; keep nothing")
            steps = [s for _, s, _ in got]
            expect_close(steps, [1.0, 1.0, 1.0, 1 / 127], own, within=2**-20, given=given, hint="keep nothing")
    for size in (1e-30, 1e-26, 1e-12, 1e10, 3e38):
        for dtype in (torch.float32, torch.float64):
            expect_symmetric(quantize_symmetric, torch.linspace(-1, 0.9, 11, dtype=dtype) * size, 8)
            expect_symmetric(quantize_symmetric, torch.tensor([size, 0.0, -size / 3], dtype=dtype), 2)
    x = torch.sin(torch.arange(200_003.0))
    x[-1] = -7.0
    expect_symmetric(quantize_symmetric, x, 8)
    ### BEGIN HIDDEN TESTS
    x = torch.randn(5, 7, generator=g)
    for part in (x.T, x[:, ::2]):
        got = expect_returns(lambda part=part: quantize_symmetric(part)[0], rule, given="part of a tensor")
        expect_equal(got, quantize_symmetric(part.contiguous())[0], rule, given="part of a tensor", hint="no .view")
    x = torch.randn(3, 4, 5, generator=g)
    for bad in (math.nan, math.inf, -math.inf):
        y = x.clone()
        y[2, 3, 1] = bad
        expect_raises(ValueError, lambda y=y: quantize_symmetric(y, 4), finite_rule, given=f"x with {bad}")
    expect_raises(ValueError, lambda: quantize_symmetric(torch.zeros(2, 0, 3), 4), finite_rule, given="shape (2, 0, 3)")
    for num_bits in (1, 0, -1, 17, 32):
        expect_raises(ValueError, lambda n=num_bits: quantize_symmetric(x, n), bits_rule, given=f"num_bits={num_bits}")
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

    A channel's range is that of its values, widened to contain 0. It is at most 1e38 wide, and at least 1e-30 unless
    the channel is all zeros.

    Args:
        w: tensor with at least one dimension, without gradient, float16, float32 or float64, also a transposed one (not
            contiguous). It is not changed. Compute in float32 or better.
        axis: the dimension that counts the channels, from -w.dim() to w.dim() - 1.
        num_bits: whole number from 1 to 16.

    Returns:
        A tuple (q, scalefactors, zeropoints):
        q: new float32 tensor of w's shape, whole numbers from 0 to 2^num_bits - 1.
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
    facts = "channels [-1, 0.5, 3] and [-0.02, 0, 0.01], 4 bits"
    expect_close(
        scalefactors,
        [[4 / 15], [0.002]],
        "each channel has the scale factor of its own range",
        within=torch.tensor([[4 / 15], [0.002]]) * 2**-20,
        given=facts,
        hint="minimum and maximum over all dimensions except axis",
    )
    rule = "each channel has the zero point of its own range"
    expect_equal(zeropoints, [[4], [10]], rule, given=facts, hint="round(-min / scalefactor), channel by channel")
    rule = "each channel is coded on its own grid"
    expect_equal(q, [[0, 6, 15], [0, 10, 15]], rule, given=w, hint="let the shapes broadcast")
    for num_bits in (1, 16):
        call = functools.partial(quantize_per_channel, w, 0, num_bits)
        expect_returns(
            call, "num_bits may be any whole number from 1 to 16", given=f"num_bits={num_bits}", hint="both ends"
        )
    g = generator()
    four, five = (6, 3, 5, 4), (2, 3, 1, 5, 2)
    for size, axis, num_bits in (
        *((four, 0, 8), (four, 1, 4), (four, 2, 2), (four, -1, 8), (four, -3, 16), (four, -4, 1)),
        *(((4, 6, 3), 1, 8), ((1, 30), 0, 8), (five, -2, 8), (five, -5, 4), (five, 2, 8)),
    ):
        w = torch.randn(size, generator=g)
        shape = [1] * len(size)
        shape[axis] = w.shape[axis]
        w = w * (0.1 + torch.rand(shape, generator=g)) + 2 * torch.randn(shape, generator=g)  # channels that differ
        expect_channels(quantize_per_channel, w, axis, num_bits)
    ### BEGIN HIDDEN TESTS
    for n in range(48):
        dtype, shape = (
            (torch.float32, torch.float64, torch.float16)[n % 3],
            ((5, 7), (4, 3, 6), (2, 3, 2, 5), (9,))[n % 4],
        )
        axis = int(torch.randint(-len(shape), len(shape), (), generator=g))
        kept = [1] * len(shape)
        kept[axis] = shape[axis]
        powers = torch.rand(kept, generator=g).double() * (64 if dtype != torch.float16 else 4)
        powers -= 27 if dtype != torch.float16 else 1
        w = torch.randn(shape, generator=g).double() + torch.randint(-1, 2, kept, generator=g) * 3
        w = (w * 10.0**powers * (torch.rand(kept, generator=g) > 0.2)).to(dtype)
        if n % 2 and len(shape) > 1:
            w = w.transpose(0, 1).contiguous().transpose(0, 1)
        expect_channels(quantize_per_channel, w, axis, n % 16 + 1)
    for size in ((4, 6, 3), (7, 2), (2, 3, 2, 5, 2)):
        for axis in range(-len(size), len(size)):
            for num_bits in (1, 8, 16):
                w = torch.randn(size, generator=g)
                shape = [1] * len(size)
                shape[axis] = w.shape[axis]
                w = w * (0.1 + torch.rand(shape, generator=g)) + 2 * torch.randn(shape, generator=g)
                expect_channels(quantize_per_channel, w, axis, num_bits)
    ### END HIDDEN TESTS


# %% nbgrader={"grade_id": "check_quantize_per_channel_edges", "grade": true, "points": 1}
with check("quantize_per_channel"):
    w = torch.tensor([[0.0, 0.0], [-1.0, 1.55]])
    rule = "a channel that is all zeros gets scale factor 1.0, zero point 0 and codes 0"
    hint = "one dead channel must not turn anything into NaN: its width is 0"
    q, scalefactors, zeropoints = expect_returns(lambda: quantize_per_channel(w), rule, given=w, hint=hint)
    expect_equal(torch.stack([scalefactors[0, 0], zeropoints[0, 0]]), [1.0, 0.0], rule, given=w, hint=hint)
    expect_equal(q, [[0, 0], [0, 255]], rule, given=w, hint=hint)
    expect_close(scalefactors[1, 0], 0.01, rule, within=2**-24, given=w, hint="the other channel is as ever")
    bits_rule = "num_bits outside 1 .. 16 is refused with a ValueError"
    for num_bits in (0, 17, -2, 32):
        for w in (torch.ones(2, 2), torch.zeros(2, 2).double(), torch.zeros(3), torch.zeros(0, 2)):
            expect_raises(
                ValueError,
                lambda w=w, num_bits=num_bits: quantize_per_channel(w, 0, num_bits),
                bits_rule,
                given=f"w = {w.tolist()}, num_bits={num_bits}",
                hint="test it first of all",
            )
    finite_rule = "a w that is empty or has NaN or infinity is refused with a ValueError"
    for bad in (
        *([[1.0, math.nan], [0.0, 1.0]], [[1.0, 2.0], [-math.inf, 1.0]], [[math.inf], [1.0]], [], [[], [], []]),
        *([0.0, math.nan], [math.inf, -math.inf], [[1.0] * 100_001, [0.0] * 100_000 + [math.nan]]),
    ):
        for dtype in (torch.float32, torch.float16, torch.float64):
            w = torch.tensor(bad, dtype=dtype)
            expect_raises(
                ValueError,
                lambda w=w: quantize_per_channel(w),
                finite_rule,
                given=f"{dtype}, {str(bad)[-60:]}",
                hint="three things to ask of w, before anything else",
            )
    rule = "in a w with one dimension every element is a channel"
    hint = "torch's amin(dim=[]) reduces over everything; rows of one element each avoid that"
    for w, axis in ((torch.tensor([2.0, -3.0, 0.0, 0.5]), 0), (torch.tensor([-1.0, 4.0]), -1)):
        given = f"w = {w.tolist()}, axis {axis}"
        q, scalefactors, _ = expect_returns(
            lambda w=w, a=axis: quantize_per_channel(w, a), rule, given=given, hint=hint
        )
        steps = torch.where(w == 0, 1.0, w.abs() / 255)
        expect_close(scalefactors, steps, rule, within=steps * 2**-20, given=given, hint=hint)
        expect_equal(q, torch.where(w > 0, 255, 0), rule, given=given, hint=hint)
    g = generator()
    for dtype in (torch.float16, torch.float64):
        w = torch.randn(8, 100, generator=g).to(dtype)
        q, scalefactors, zeropoints = quantize_per_channel(w)
        rule = "float16 input gives float32 codes, computed in float32 or better; so does float64"
        hint = "convert w first: float16 has 11 significant bits, too few for w / scalefactors"
        got = f"{q.dtype}, {scalefactors.dtype}"
        expect(got == "torch.float32, torch.float32", rule, given=dtype, got=got, hint=hint)
        within = (scalefactors.double() * (0.5 + slack(8))).expand(w.shape)
        back = scalefactors.double() * (q.double() - zeropoints.double())
        expect_close(back, w, rule, within=within, given=w, hint=hint)
        expect(w.dtype == dtype, "w itself is not changed", given=dtype, got=w.dtype)
    sums = [[-1.0, 1.0], [0.0, 0.0], [1e-20, -3e-20], [5e37, 5e37]]  # two add up to 0, one nearly
    for w, axis, num_bits in (
        *((torch.zeros(2, 3), 0, 8), (torch.zeros(2, 3, dtype=torch.float64), 1, 8)),
        *((torch.tensor(sums), 0, 8), (torch.tensor([sums[3]] * 8), 0, 8)),
        *((-torch.rand(4, 50, generator=g).half(), 0, 16), (torch.randn(4, 50, generator=g).half(), 0, 16)),
        (torch.tensor([[-1.5, 0.2, 1.5], [3.0, -3.0, 0.1]]), 0, 2),  # both ends are 1.5 steps from 0
    ):
        expect_channels(quantize_per_channel, w, axis, num_bits)
    rule = "w may lie in memory in any order"
    hint = "a transposed tensor refuses .view"
    w = torch.tensor([[-1.0, 3.0], [0.0, 7.5], [2.0, -7.5]]).T
    for axis, steps, codes in (
        (0, [[0.2], [1.0]], [[0, 5, 15], [10, 15, 0]]),
        (-1, [[4 / 15, 0.5, 9.5 / 15]], [[0, 0, 15], [15, 15, 0]]),
    ):
        facts = f"the transpose of [[-1, 3], [0, 7.5], [2, -7.5]], axis {axis}, 4 bits"
        q, scalefactors, _ = expect_returns(lambda a=axis: quantize_per_channel(w, a, 4), rule, given=facts, hint=hint)
        expect_close(scalefactors, steps, rule, within=2**-20, given=facts, hint=hint)
        expect_close(q, codes, rule, within=1 if axis == 0 else 0, given=facts, hint=hint)
    own = "the results are tensors of their own, for the numbers that w holds now"
    first, second = torch.tensor([[0.0, 255.0], [-255.0, 0.0]]), torch.tensor([[-51.0, 204.0], [0.0, 0.0]])
    for dtype in (torch.float32, torch.float64, torch.float16):
        for got in reused(quantize_per_channel, [(w.to(dtype),) for w in (first, second, first)]):
            given = f"{first.tolist()}, {second.tolist()} and the first, written into one {dtype} tensor"
            codes = [torch.tensor(q) for q in ([[0.0, 255.0], [0.0, 255.0]], [[0.0, 255.0], [0.0, 0.0]])]
            expect_equal([q for q, _, _ in got], [*codes, codes[0]], own, given=f"{given}; q", hint="keep nothing")
            zeros = [[0.0, 255.0], [51.0, 0.0], [0.0, 255.0]]
            expect_equal(torch.stack([z.flatten() for _, _, z in got]), zeros, own, given=f"{given}; zero points")
            steps = torch.stack([s for _, s, _ in got])
            expect_equal(steps, torch.ones(3, 2, 1), own, given=f"{given}; scale factors", hint="keep nothing")
    sizes = torch.tensor([1e-30, 0.0, 1e-25, 1e-12, 1.0, 1e10, 5e37, -0.0, 1e-29]).double()
    for dtype in (torch.float32, torch.float64):
        for shift in (0.0, 1.0, -1.0):
            w = (torch.linspace(-1, 1, 11).double()[:, None] + shift) * sizes
            expect_channels(quantize_per_channel, w.to(dtype), 1, 8)
            expect_channels(quantize_per_channel, w.T.to(dtype), 0, 16)
    w = torch.sin(torch.arange(3 * 70_001.0)).reshape(3, 70_001)
    w[0, -1], w[2, -1] = 5.0, -7.0
    expect_channels(quantize_per_channel, w, 0, 8)
    expect_channels(quantize_per_channel, w[:, :5003], 1, 4)  # a loop over the channels is right, too
    ### BEGIN HIDDEN TESTS
    for axis in (0, 1, -2):
        for bad in (math.nan, math.inf, -math.inf):
            w = torch.randn(3, 4, generator=g)
            w[2, 3] = bad
            expect_raises(
                ValueError,
                lambda w=w, axis=axis: quantize_per_channel(w, axis, 4),
                finite_rule,
                given=f"w with {bad}, axis {axis}",
            )
        expect_raises(
            ValueError,
            lambda axis=axis: quantize_per_channel(torch.zeros(0, 2), axis),
            finite_rule,
            given=f"shape (0, 2), axis {axis}",
        )
        for num_bits in (0, -1, 17, 24):
            expect_raises(
                ValueError,
                lambda axis=axis, n=num_bits: quantize_per_channel(torch.ones(2, 2), axis, n),
                bits_rule,
                given=f"num_bits={num_bits}, axis {axis}",
            )
    for num_bits in (1, 3, 8, 16):  # both ends lie halfway between two steps
        w = torch.tensor([[-1.0, 1.0], [0.25, -0.25]]) * (2**num_bits - 1) / 2
        expect_channels(quantize_per_channel, w * 2.0 ** int(torch.randint(-9, 9, (), generator=g)), 0, num_bits)
    w = torch.randn(3, 4, 2, generator=g)
    w[:, 1] = 0
    q, scalefactors, zeropoints = quantize_per_channel(w, 1, 5)
    rule = "a channel that is all zeros gets scale factor 1.0, zero point 0 and codes 0"
    got = [scalefactors[0, 1, 0], zeropoints[0, 1, 0], q[:, 1].abs().max()]
    expect_equal(torch.stack(got), [1.0, 0.0, 0.0], rule, given="channel 1 of 4, axis 1", hint="its width is 0")
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
        x, y: tensors of one shape without gradient, each float16, float32, float64 or of whole numbers, all finite.
            They are not changed. Compute in float64, the difference too: it is 0, or 1e-150 to 1e150 in size.

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
    mean = "mse is the mean of the squared differences"
    hint_mean = "subtract, square, then take the mean of all elements, in this order"
    x, y = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 5.0])
    expect_measure(mse, x, y, 4 / 3, 2**-20, mean, "x = [1, 2, 3], y = [1, 2, 5]", hint_mean)
    x, y = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]), torch.tensor([[1.0, 2.0, 5.0], [1.0, -1.0, 0.0]])
    expect_measure(mse, x, y, 1.0, 2**-20, mean, "errors [[0, 0, 2], [1, -1, 0]]", "one mean, over all dimensions")
    expect_measure(mse, y, y, 0.0, 0.0, mean, "y equal to x", "nothing is added to avoid a zero")
    ### BEGIN HIDDEN TESTS
    g = generator()
    for size in (0.01, 1.0, 50.0):
        x = torch.randn(6, 7, 8, generator=g) * size
        y = x + torch.randn(6, 7, 8, generator=g) * size * 0.1
        expected = float(((x.double() - y.double()) ** 2).sum()) / x.numel()
        for a, b in ((x, y), (y, x), (x.flatten(), y.flatten())):
            expect_measure(
                mse, a, b, expected, expected * 2**-20, mean, f"two tensors of shape {tuple(a.shape)}", hint_mean
            )
    ### END HIDDEN TESTS


# %% nbgrader={"grade_id": "check_mse_edges", "grade": true, "points": 1}
with check("mse"):
    shapes_rule = "tensors of different shapes are refused with a ValueError"
    for shapes in (((4,), (4, 1)), ((3,), (1,)), ((2, 3), (3, 2)), ((), (1,)), ((1, 2, 3), (2, 3, 1))):
        expect_raises(
            ValueError,
            lambda shapes=shapes: mse(torch.zeros(shapes[0]), torch.zeros(shapes[1])),
            shapes_rule,
            given=f"shapes {shapes[0]} and {shapes[1]}",
            hint="the shapes must be equal, not just the numbers of elements; torch would broadcast them",
        )
    empty_rule = "empty tensors are refused with a ValueError"
    for shape in ((0,), (2, 0)):
        expect_raises(
            ValueError,
            lambda shape=shape: mse(torch.zeros(shape), torch.zeros(shape)),
            empty_rule,
            given=f"two tensors of shape {shape}",
            hint="the mean of nothing would be NaN",
        )
    expect_measure(
        mse,
        torch.tensor(3.0),
        torch.tensor(1.0),
        4.0,
        4.0 * 2**-40,
        "a single number is a tensor too",
        "shape ()",
        "no loops",
    )
    x, y = torch.tensor([300.0, 1.0]).half(), torch.tensor([-300.0, 1.0]).half()
    expect_measure(
        mse,
        x,
        y,
        180000.0,
        0.0,
        "float16 numbers are squared in a wider type",
        "[300, 1] and [-300, 1]",
        "float16 ends at 65504",
    )
    rule = "small differences do not vanish: the squares are taken in float64"
    hint = "the square of 1e-30 is below the smallest float32 number"
    v = float(torch.tensor(1e-30))
    x, y = torch.tensor([v, 0.0]), torch.tensor([0.0, v])
    expect_measure(mse, x, y, v**2, v**2 * 2**-40, rule, "values near 1e-30", hint)
    rule = "the difference is taken in float64, too"
    hint = "convert both before you subtract; float32 has 24 significant bits"
    expect_measure(
        mse,
        torch.tensor([1.0]),
        torch.tensor([2.0**-30]),
        (1 - 2.0**-30) ** 2,
        ((1 - 2.0**-30) ** 2) * 2**-40,
        rule,
        "1 and 2^-30",
        hint,
    )
    x, y = torch.tensor([1 + 2.0**-40], dtype=torch.float64), torch.tensor([1.0])
    expect_measure(mse, x, y, 2.0**-80, (2.0**-80) * 2**-40, rule, "1 + 2^-40 in float64, 1 in float32", hint)
    rule = "integers are converted before the subtraction"
    for left, a, right, b in (
        (torch.uint8, [10, 200], torch.uint8, [20, 100]),
        (torch.int32, [2**31 - 1, 0], torch.int32, [-(2**31), 0]),
        (torch.int64, [2**33, 2**24 + 1], torch.int64, [-(2**33), 2**24]),
        (torch.int64, [2**24 + 1, 0], torch.float64, [2.0**24, 0.0]),
        (torch.uint8, [200, 1], torch.int8, [-100, 1]),
        (torch.int32, [70001, 0], torch.float16, [1.0, 0.5]),
        (torch.int16, [5, -7], torch.int16, [5, -7]),
        (torch.int64, [2**63 - 1, 0], torch.int64, [-(2**63), 0]),
        (torch.int64, [2**62, 3], torch.int64, [-(2**62), -3]),
        (torch.int16, [2**15 - 1, -1], torch.int16, [-(2**15), 1]),
        (torch.int8, [127, -1], torch.int8, [-128, 1]),
        (torch.int8, [127, -128], torch.int16, [-(2**15), 2**15 - 1]),
        (torch.float16, [60000.0, -60000.0], torch.int8, [-128, 127]),
        (torch.float64, [1e300, 7.0], torch.float64, [1e300, 5.0]),
        (torch.float64, [1.0, 0.1], torch.float64, [1.0 + 2.0**-52, 0.1]),
    ):
        expected = float(sum((m - n) ** 2 for m, n in zip(a, b, strict=True)) / 2)
        x, y = torch.tensor(a, dtype=left), torch.tensor(b, dtype=right)
        hint = "10 - 20 in uint8 is 246; two dtypes meet in one that may be too short for both"
        expect_measure(mse, x, y, expected, expected * 2**-40, rule, f"{left} {a} and {right} {b}", hint)
        expect_measure(mse, y, x, expected, expected * 2**-40, rule, f"{right} {b} and {left} {a}", hint)
    rule = "differences of every size count: they and their squares are taken in float64"
    hint = "the square of 1e-30 is below the smallest float32 number; no difference is too small to count"
    for size in (1e-30, 1e30, 1e-15, 1e-9):
        v = float(torch.tensor(size))
        x, y = torch.tensor([v, 0.0]), torch.tensor([0.0, v])
        expect_measure(mse, x, y, v**2, v**2 * 2**-40, rule, f"values near {size}", hint)
        expect_measure(mse, x.double(), y, v**2, v**2 * 2**-40, rule, f"values near {size}, float64 and float32", hint)
    for size in (1e-149, 1e-100, 1e-60, 1e60, 1e149):
        x, y = torch.tensor([size, 0.0], dtype=torch.float64), torch.tensor([0.0, size], dtype=torch.float64)
        expect_measure(mse, x, y, size**2, size**2 * 2**-40, rule, f"values near {size}, float64", hint)
    mean = "mse is the mean of the squared differences"
    places = torch.arange(200_003)
    x, y = (places % 5).float(), (places % 5 + places % 3).double()
    y[-1] += 1000
    expected = ((places % 3).square().sum().item() + 1000**2 + 2000 * (200_002 % 3)) / 200_003
    expect_measure(mse, x, y, expected, expected * 2**-30, mean, "200,003 elements", "all of them, and in float64")
    x, y = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).T, torch.tensor([[1.0, 3.0], [2.0, 4.0]])
    expect_measure(mse, x, y, 0.0, 0.0, mean, "x a transposed tensor, y the same numbers", "element by element")
    ### BEGIN HIDDEN TESTS
    g = generator()
    for shapes in (((5,), ()), ((2, 3), (6,)), ((1, 4), (4,)), ((2, 2), (2, 2, 1)), ((0,), (1,))):
        expect_raises(
            ValueError,
            lambda shapes=shapes: mse(torch.ones(shapes[0]), torch.ones(shapes[1])),
            shapes_rule,
            given=f"shapes {shapes[0]} and {shapes[1]}",
            hint="the shapes must be equal, not just the numbers of elements; torch would broadcast them",
        )
    for shape in ((0, 3), (2, 0, 1)):
        expect_raises(
            ValueError, lambda s=shape: mse(torch.zeros(s), torch.zeros(s)), empty_rule, given=f"shape {shape}"
        )
    rule = "x and y may have any dtype of the docstring"
    for left in KINDS:
        for right in KINDS:
            x, y = some_numbers(left, g), some_numbers(right, g)
            y[:3], x[3:6] = x[:3].clamp(0, 90).to(right), y[3:6].clamp(0, 90).to(left)
            expected = sum((Fraction(m) - Fraction(n)) ** 2 for m, n in zip(x.tolist(), y.tolist(), strict=True)) / 20
            facts, hint = f"{left} and {right}", "convert both, then subtract"
            expect_measure(mse, x, y, float(expected), float(expected) * 2**-40, rule, facts, hint)
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
#
# Without noise the ratio is infinite, and so is its logarithm: return `math.inf`, also when the signal is 0 as well.
# If the signal is 0 and there is noise, return `-math.inf`.


# %% nbgrader={"grade_id": "sqnr_db", "solution": true}
def sqnr_db(x, y):
    """Signal-to-quantization-noise ratio in decibels.

    Args:
        x: the signal, a tensor without gradient: float16, float32, float64 or whole numbers, all finite.
        y: the signal after quantization, of x's shape, and any of these dtypes. Neither x nor y is changed. Compute in
            float64, the difference too: signal and difference are 0, or 1e-75 to 1e75 in size.

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
    ratio = "the SQNR is 10 log10 of the signal's mean square over the error's mean square"
    hint_ratio = "a ratio of 100 is 20 dB: a logarithm to base 10, times 10, signal on top"
    x, y = torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.5])
    expect_measure(sqnr_db, x, y, 20.0, 1e-9, ratio, "x = [3, 4], y = [3, 4.5]", hint_ratio)
    means = "signal and noise are mean squares over all elements, of x and of x - y"
    hint_means = "the signal is x, not y; no mean is subtracted; one ratio of two means, not a mean of ratios"
    x, y = torch.tensor([[2.0, 2.0], [14.0, 14.0]]), torch.tensor([[3.0, 1.0], [15.0, 13.0]])
    expect_measure(sqnr_db, x, y, 20.0, 1e-9, means, f"x = {x.tolist()}, y = {y.tolist()}", hint_means)
    expect_measure(
        sqnr_db, x, y - y, 0.0, 1e-9, means, f"x = {x.tolist()}, y all zeros", "the error is x itself: a ratio of 1"
    )
    expected, facts = 10 * math.log10(1 / 4), f"x = {x.tolist()}, y = -x"
    expect_measure(sqnr_db, x, -x, expected, 1e-9, means, facts, "the error is twice x, so the ratio is below 1")
    facts = f"x = {x.tolist()}, y = x + 2"
    expect_measure(sqnr_db, x, x + 2, 10 * math.log10(25), 1e-9, means, facts, "no mean is subtracted")
    ### BEGIN HIDDEN TESTS
    g = generator()
    for shift in (0.0, 5.0, -2.0):
        for size in (1.0, 0.1, 0.003):
            x = torch.randn(5, 200, generator=g) + shift
            y = x + torch.randn(5, 200, generator=g) * size + 0.1 * size
            error = x.double() - y.double()
            expected = 10 * math.log10(float((x.double() ** 2).sum() / (error**2).sum()))
            expect_measure(
                sqnr_db, x, y, expected, 1e-9, means, f"x with mean {shift}, noise of size {size}", hint_means
            )
    ### END HIDDEN TESTS


# %% nbgrader={"grade_id": "check_sqnr_db_edges", "grade": true, "points": 1}
with check("sqnr_db"):
    x, zeros = torch.tensor([1.0, -2.0]), torch.zeros(2)
    rule = "without noise the SQNR is infinite"
    hint = "ask whether the noise is 0 before you divide"
    expect_measure(sqnr_db, x, x, math.inf, 1e-9, rule, "y equal to x", hint)
    expect_measure(sqnr_db, zeros, zeros, math.inf, 1e-9, rule, "x and y all zeros", hint)
    for t in (x, zeros):
        expect_measure(sqnr_db, t, t.double(), math.inf, 1e-9, rule, f"{t.tolist()} in float32 and float64", hint)
        expect_measure(sqnr_db, t.to(torch.int8), t, math.inf, 1e-9, rule, f"{t.tolist()} in int8 and float32", hint)
    rule = "noise without a signal gives -inf"
    expect_measure(sqnr_db, zeros, x, -math.inf, 1e-9, rule, "x all zeros, y not", "math.log10(0) raises; ask first")
    shapes_rule = "tensors of different shapes are refused with a ValueError"
    for shapes in (((4,), (4, 1)), ((3,), (1,)), ((2, 3), (3, 2)), ((), (1,)), ((1, 2, 3), (2, 3, 1))):
        expect_raises(
            ValueError,
            lambda shapes=shapes: sqnr_db(torch.ones(shapes[0]), torch.zeros(shapes[1])),
            shapes_rule,
            given=f"shapes {shapes[0]} and {shapes[1]}",
            hint="the shapes must be equal, not just the numbers of elements; torch would broadcast them",
        )
    empty_rule = "empty tensors are refused with a ValueError"
    for shape in ((0,), (2, 0)):
        expect_raises(
            ValueError,
            lambda shape=shape: sqnr_db(torch.zeros(shape), torch.zeros(shape)),
            empty_rule,
            given=f"two tensors of shape {shape}",
            hint="there is neither signal nor noise in nothing",
        )
    unit = "the SQNR does not depend on the unit, however small or large: squares are taken in float64"
    hint_unit = "the square of 1e-27 is below the smallest float32 number; nothing is added to avoid a zero"
    x, y = torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.5])
    for factor in (2.0**-90, 2.0**90, 2.0**-20, 2.0**-60):
        facts = f"x = [3, 4], y = [3, 4.5], times {factor:.3g}"
        expect_measure(sqnr_db, factor * x, factor * y, 20.0, 1e-9, unit, facts, hint_unit)
    for factor in (2.0**-490, 2.0**-400, 2.0**-200, 2.0**-100, 2.0**200, 2.0**480):
        facts = f"x = [3, 4], y = [3, 4.5] in float64, times {factor:.3g}"
        expect_measure(sqnr_db, factor * x.double(), factor * y.double(), 20.0, 1e-9, unit, facts, hint_unit)
    for size in (1e-140, 1e-40, 1e-12):  # noise that is small beside the signal, and the other way round
        x, y = torch.tensor([[size, 0.0], [0.0, 1.0]], dtype=torch.float64)
        expect_measure(sqnr_db, x, x + y, 20 * math.log10(size), 1e-9, unit, f"a signal of {size}, noise 1", hint_unit)
        expect_measure(sqnr_db, y, x + y, -20 * math.log10(size), 1e-9, unit, f"signal 1, noise {size}", hint_unit)
    means_of_kinds = "x and y may have any dtype of the docstring; both are converted to float64 before the subtraction"
    rule = means_of_kinds
    for dtype, a, b in (
        (torch.int64, [5, 2**63 - 1], [5, -(2**63)]),
        (torch.int64, [7, -(2**62)], [7, 2**62]),
        (torch.int16, [3, 2**15 - 1], [3, -(2**15)]),
        (torch.int8, [3, -128], [3, 127]),
        (torch.float64, [0.1, 1.0], [0.1, 1 + 2.0**-52]),
        (torch.uint8, [30, 40], [30, 45]),
        (torch.float16, [480.0, 640.0], [480.0, 720.0]),
        (torch.int32, [3 * 2**29, 2**31 - 1], [3 * 2**29, -(2**31)]),
        (torch.float64, [2.0, 2.0], [2.0, 2 + 2.0**-51]),
        (torch.float32, [1.0, 1.0], [1.0, 2.0**-30]),
        (torch.float32, [-3.0, 0.0], [-3.0, 0.5]),
        (torch.float32, [-3.0, 3.0], [-3.0, 3.5]),
        (torch.int64, [0, 2**24 + 1], [0, 2**24]),
    ):
        signal, noise = sum(v * v for v in a), (a[1] - b[1]) ** 2
        x, y = torch.tensor(a, dtype=dtype), torch.tensor(b, dtype=dtype)
        facts = f"x = {a}, y = {b}, {dtype}"
        expect_measure(
            sqnr_db,
            x,
            y,
            10 * math.log10(signal / noise),
            1e-9,
            rule,
            facts,
            "30 - 45 in uint8 is 241; float16 ends at 65504; squares decide what is zero, not sums or maxima",
        )
    x, y = torch.tensor([2**24 + 1]), torch.tensor([2.0**24], dtype=torch.float64)
    expected, facts = 20 * math.log10(2**24 + 1), "x = [2^24 + 1] in int64, y = [2^24] in float64"
    expect_measure(sqnr_db, x, y, expected, 1e-9, rule, facts, "float32 has 24 significant bits")
    means = "signal and noise are mean squares over all elements, of x and of x - y"
    places = torch.arange(200_003)
    x, y = (places % 5).float() + 1, (places % 5 + 1 + places % 3).double()
    y[-1] += 1000
    signal = (places % 5 + 1).square().sum().item()
    noise = (places % 3).square().sum().item() + 1000**2 + 2000 * (200_002 % 3)
    expected = 10 * math.log10(signal / noise)
    expect_measure(sqnr_db, x, y, expected, 1e-8, means, "200,003 elements", "all of them, and in float64")
    x, y = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).T, torch.tensor([[1.0, 3.0], [2.0, 4.0]])
    expect_measure(sqnr_db, x, y, math.inf, 0, means, "x a transposed tensor, y the same numbers", "element by element")
    ### BEGIN HIDDEN TESTS
    g = generator()
    for shapes in (((5,), ()), ((2, 3), (6,)), ((1, 4), (4,)), ((2, 2), (2, 2, 1)), ((0,), (1,))):
        expect_raises(
            ValueError,
            lambda shapes=shapes: sqnr_db(torch.ones(shapes[0]), torch.zeros(shapes[1])),
            shapes_rule,
            given=f"shapes {shapes[0]} and {shapes[1]}",
            hint="the shapes must be equal, not just the numbers of elements; torch would broadcast them",
        )
    for shape in ((0, 3), (2, 0, 1)):
        expect_raises(
            ValueError, lambda s=shape: sqnr_db(torch.zeros(s), torch.zeros(s)), empty_rule, given=f"shape {shape}"
        )
    x = torch.randn(300, generator=g)
    y = x + 0.01 * torch.randn(300, generator=g)
    expected = 10 * math.log10(float((x.double() ** 2).sum() / ((x.double() - y.double()) ** 2).sum()))
    for factor in (2.0**-90, 2.0**-40, 2.0**90):
        expect_measure(
            sqnr_db, factor * x, factor * y, expected, 1e-9, unit, f"x and y, both times {factor:.3g}", hint_unit
        )
    for factor in 10.0 ** (torch.rand(20, generator=g, dtype=torch.float64) * 270 - 138):
        noise = torch.randn(300, generator=g).double() * 10.0 ** -float(torch.rand((), generator=g) * 12)
        a, b = factor * x.double(), factor * (x.double() + noise)
        error = (a / factor - b / factor).square().sum()
        expected = 10 * math.log10(float((a / factor).square().sum() / error))
        expect_measure(sqnr_db, a, b, expected, 1e-4, unit, f"x and y in float64, times {factor:.3g}", hint_unit)
    for left in KINDS:
        for right in KINDS:
            x, y = some_numbers(left, g), some_numbers(right, g)
            a, b = ([Fraction(v) for v in numbers.tolist()] for numbers in (x, y))
            ratio = sum(v * v for v in a) / sum((v - w) ** 2 for v, w in zip(a, b, strict=True))
            expected = 10 * (math.log10(ratio.numerator) - math.log10(ratio.denominator))
            expect_measure(sqnr_db, x, y, expected, 1e-9, means_of_kinds, f"{left} and {right}", "convert both first")
    zeros = torch.zeros(3, 4, dtype=torch.uint8)
    expect_measure(
        sqnr_db,
        zeros,
        zeros + 3,
        -math.inf,
        1e-9,
        "noise without a signal gives -inf",
        "uint8, x all zeros",
        "ask first",
    )
    expect_measure(
        sqnr_db, zeros, zeros, math.inf, 1e-9, "without noise the SQNR is infinite", "uint8, all zeros", "ask first"
    )
    for left, right in ((torch.uint8, torch.float32), (torch.int8, torch.int64), (torch.float16, torch.float64)):
        x, y = (torch.randint(1, 100, (50,), generator=g).to(d) for d in (left, right))
        error = x.double() - y.double()
        expected = 10 * math.log10(float((x.double() ** 2).sum() / (error**2).sum()))
        expect_measure(sqnr_db, x, y, expected, 1e-9, rule, f"{left} and {right}", "convert both, then subtract")
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
# Theory and your own functions, side by side. (For Gaussian data rare large values stretch the range.)

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
# quantization tool built on Caffe, offers this scheme beside the deterministic one.
#
# <details><summary>For the curious: a slip in the survey</summary>
#
# The survey prints the deterministic case as "$\lfloor x \rfloor$ if $\lfloor x \rfloor \le x \le x +
# \varepsilon/2$". This condition holds for every $x$; meant is $\lfloor x \rfloor \le x \le \lfloor x \rfloor +
# \varepsilon/2$, and in the second case $x \le \lfloor x \rfloor + \varepsilon$.
#
# </details>
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
        x: tensor of any shape without gradient, float16, float32 or float64, also a transposed one (not contiguous). It
            is not changed. Compute in float32 or better.
        step: positive number, the distance between the multiples, in the unit of x; from 1e-30 to 1e37. If not all of x
            are multiples of it, x is at most 2^20 steps in size, else at most 2^100.
        generator: torch.Generator, the only source of randomness, as it comes: it is not seeded anew, and torch's
            global random state stays as it is. Each element has a random number of its own.

    Returns:
        New float32 tensor of x's shape. A multiple of step stays what it is.

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
DRAWS = 20_000


def expect_unbiased(value, step, random, dtype=torch.float32, draws=DRAWS):
    """The rules of rounding one value, draws times."""
    x = torch.full((draws,), value, dtype=dtype)
    facts, rule = (
        f"x = {value:.6g} in {dtype}, {draws} times, step = {step}",
        "the result is one of the two multiples of step next to x",
    )
    before = state_of(x)
    y = expect_returns(
        lambda: round_stochastic(x, step, random), rule, given=facts, hint="any positive number is a step"
    )
    expect_unchanged(before, state_of(x), "x itself is not changed", hint="no method that ends in _")
    expect(
        isinstance(y, torch.Tensor) and y.dtype == torch.float32 and y.shape == x.shape,
        "the result is a float32 tensor of x's shape",
        given=facts,
        got=f"{getattr(y, 'dtype', type(y).__name__)}, {tuple(getattr(y, 'shape', ()))}",
        hint="as many random numbers as x has elements, in x's shape",
    )
    value = float(x[0])  # as float32 holds it
    below = math.floor(value / step)
    p = value / step - below
    expect_close(
        (y.double() / step - below - 0.5).abs(),
        torch.full((draws,), 0.5),
        "the result is one of the two multiples of step next to x",
        within=2**-22 * max(1, abs(below)),  # two roundings in float32
        given=facts,
        hint="the multiple below, by torch.floor, or one step more",
    )
    up = y.double() / step > below + 0.5
    expect(
        0 < int(up.sum()) < draws,
        "each element has a random number of its own, so both multiples occur",
        given=facts,
        expected=f"the upper one about {p * draws:.0f} times",
        got=f"the upper one {int(up.sum())} times",
        hint="below is torch.floor(x / step), no cutting off; and one random number for each element",
    )
    # the mean of n draws has the standard deviation step * sqrt(p (1 - p) / n); we allow six of them
    expect_close(
        y.double().mean(),
        value,
        "the mean of many results is x",
        within=step * (6 * math.sqrt(p * (1 - p) / draws) + 2**-22 * max(1, abs(below))),
        given=facts,
        hint="go up with probability (x - multiple below) / step",
    )
    if 0.2 < p < 0.8:
        expect_own_numbers(up.double() - p, p * (1 - p), facts)


with check("round_stochastic"):
    for value, step in (
        *((-0.3, 0.25), (0.3, 1.0), (2.9, 0.3), (-3.3, 2.5), (-20.9, 7.0), (0.01, 0.125)),
        *((0.004, 1.0), (-0.004, 1.0), (-300.3, 1.0), (5000.25, 1.0), (-100000.75, 1.0), (2.0**20 - 0.5, 1)),
        *((0.3e-30, 1e-30), (-7.7e-9, 1e-9), (0.3e30, 1e30), (2.25e37, 1e37)),
    ):
        expect_unbiased(value, step, torch.Generator().manual_seed(0))
    for dtype in (torch.float16, torch.float64):
        expect_unbiased(2.75, 0.5, torch.Generator().manual_seed(0), dtype)
        expect_unbiased(-1000.5, 0.7, torch.Generator().manual_seed(0), dtype)
    x = torch.linspace(-4, 4, 2000).reshape(40, 50)
    first, same, other = (round_stochastic(x, 0.5, torch.Generator().manual_seed(seed)) for seed in (7, 7, 8))
    rule = "the same seed gives the same result"
    expect_equal(same, first, rule, hint="the generator is the only source of randomness: hand it to torch.rand")
    rule = "another seed gives another result"
    expect((first != other).any(), rule, hint="do not seed anything yourself: draw from the generator as it comes")
    twice = torch.Generator().manual_seed(7)
    first, second = (round_stochastic(x, 0.5, twice) for _ in range(2))
    rule = "a second call with the same generator draws new numbers"
    expect((first != second).any(), rule, hint="do not make a new generator from its seed; use the one you get")
    both = torch.cat([round_stochastic(torch.full((5_000,), 0.5), 1.0, twice) for _ in range(2)])
    expect_own_numbers(both - 0.5, 0.25, "two calls, each 5,000 times 0.5, step 1")
    expect_equal(first, same, "the same seed gives the same result", hint="nothing is kept between two calls")
    ### BEGIN HIDDEN TESTS
    g = generator()
    for step in (0.125, 1, 0.3, 7.0):
        for p in (0.05, 0.25, 0.5, 0.9):
            for base in (-3, 0, int(torch.randint(-4096, 4096, (), generator=g))):
                dtype = (torch.float32, torch.float64)[base % 2]
                expect_unbiased((base + p) * step, step, g, dtype, 5_000)
    seed = int(torch.randint(0, 10**6, (), generator=g))
    x = torch.randn(30, 40, generator=g) * 4
    first, same, other = (round_stochastic(x, 0.5, torch.Generator().manual_seed(seed + s)) for s in (0, 0, 1))
    expect_equal(same, first, "the same seed gives the same result", hint="the generator, and nothing else")
    expect((first != other).any(), "another seed gives another result", hint="draw from the generator as it comes")
    ### END HIDDEN TESTS


# %% nbgrader={"grade_id": "check_round_stochastic_edges", "grade": true, "points": 1}
ZERO_SEED = 34  # torch.rand of this seed is exactly 0 once within the first 400,000 numbers


@probe
def draws_after(seed, x, step):
    """Random numbers of torch's global state, seeded before the call."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        round_stochastic(x, step, torch.Generator().manual_seed(0))
        return torch.rand(20)


with check("round_stochastic"):
    rule = "a multiple of step stays what it is"
    for values, step in (
        *(([-1.0, -0.25, 0.0, 0.5, 0.75], 0.25), ([-6.0, 3.0, 300.0], 3)),
        *(([2.0**20, -(2.0**20), 2.0**20 + 1], 1), ([2.0**127] * 4, 2.0**120)),
        ([2.0**31, -3 * 2.0**40, 2.0**100], 1),
    ):
        x = torch.tensor(values)
        for seed in range(20):
            random = torch.Generator().manual_seed(seed)
            y = expect_returns(lambda x=x, s=step, r=random: round_stochastic(x, s, r), rule, given=x)
            expect_equal(y, x, rule, given=x, hint="the probability of going up is 0 there")
            types = "the result is a float32 tensor of x's shape"
            expect_type(y, torch.float32, types, given=f"step = {step!r}", hint="whatever the step is")
    x = torch.full((400_000,), 3.0)
    y = round_stochastic(x, 1.0, torch.Generator().manual_seed(ZERO_SEED))
    hint = "a random number may be exactly 0, and must not send a multiple up: < or <= ?"
    expect_equal(y.unique(), [3.0], rule, given="400,000 times 3.0, step 1; the different results", hint=hint)
    step_rule = "a step that is not positive and finite is refused with a ValueError"
    for step in (0.0, -0.5, math.inf, math.nan, 0, -1, -0.0, -math.inf, -1e-30):
        for x in (torch.ones(3), torch.zeros(3), torch.zeros(0), torch.tensor(1.0).double()):
            expect_raises(
                ValueError,
                lambda x=x, step=step: round_stochastic(x, step, torch.Generator()),
                step_rule,
                given=f"x = {x.tolist()}, step={step}",
                hint="two things to ask of it, whatever x holds",
            )
    finite_rule = "NaN and infinity are refused with a ValueError"
    for bad in (math.nan, math.inf, -math.inf):
        for dtype in (torch.float32, torch.float16, torch.float64):
            for values in ([0.5, bad], bad, [[bad], [1.0]], [0.5] * 70_000 + [bad]):
                x = torch.tensor(values, dtype=dtype)
                expect_raises(
                    ValueError,
                    lambda x=x: round_stochastic(x, 0.5, torch.Generator()),
                    finite_rule,
                    given=f"{dtype}, {str(values)[-30:]}",
                    hint="in x, wherever they stand",
                )
    lots = torch.full((1000,), 3e38)
    y = expect_returns(
        lambda: round_stochastic(lots, 1e37, torch.Generator()), "a sum that is infinite does not matter"
    )
    expect_close(
        y, lots, "the result is one of the two multiples of step next to x", within=1e37, given="1,000 times 3e38"
    )
    rule = "x may have any shape, an empty one too, and lie in memory in any order"
    for shape in ((0, 3), (), (2, 1, 2)):
        x = torch.full(shape, 1.5)
        y = expect_returns(lambda x=x: round_stochastic(x, 0.5, torch.Generator()), rule, given=f"shape {shape}")
        expect_equal(y, x, rule, given=f"shape {shape}", hint="the shape stays")
    first, second = (torch.Generator().manual_seed(seed) for seed in (7, 8))
    for g in (first, second):
        round_stochastic(torch.zeros(0), 1.0, g)
    a, b = (round_stochastic(torch.full((100,), 0.5), 1.0, g) for g in (first, second))
    expect((a != b).any(), "another seed gives another result", given="after an empty x", hint="seed nothing")
    x = torch.arange(6.0).reshape(2, 3).T / 2
    y = expect_returns(lambda: round_stochastic(x, 0.5, torch.Generator()), rule, given="a transposed tensor")
    expect_equal(y, x, rule, given="a transposed tensor", hint=".view refuses it; the shape stays")
    g = generator()
    for dtype in (torch.float16, torch.float64):
        x = torch.full((20_000,), 300.25, dtype=dtype)  # 428.93 steps
        before = state_of(x)
        y = round_stochastic(x, 0.7, torch.Generator().manual_seed(1))
        rule = "float16 and float64 input gives a float32 result, computed in float32 or better"
        hint = "convert x first: float16 has 11 significant bits"
        expect(y.dtype == torch.float32, rule, given=dtype, expected=torch.float32, got=y.dtype, hint=hint)
        half = torch.full((20_000,), 0.5)
        expect_close((y.double() / 0.7 - 428.5).abs(), half, rule, within=1e-3, given=dtype, hint=hint)
        within = 6 * 0.7 * 0.5 / math.sqrt(20_000)
        expect_close(y.double().mean(), 300.25, rule, within=within, given=dtype, hint=hint)
        expect_unchanged(before, state_of(x), "x itself is not changed", hint="no method that ends in _")
    for dtype in (torch.float16, torch.float64):
        y = round_stochastic(torch.zeros(0, 3, dtype=dtype), 0.5, torch.Generator())
        expect_type(y, torch.float32, "the result is a float32 tensor of x's shape", given=f"empty, {dtype}")
    for shape in ((3, 4, 10, 100), (200_003,), (400, 50)):
        y = round_stochastic(torch.full(shape, 0.5), 1.0, torch.Generator().manual_seed(2))
        expect_equal(y, y.round().clamp(0, 1), "the result is one of the two multiples of step next to x", given=shape)
        expect_own_numbers(y.flatten() - 0.5, 0.25, f"shape {shape}, all 0.5, step 1")
    rule = "the mean of many results is x, also if x lies very near to a multiple of step"
    y = round_stochastic(torch.full((400_000,), 1e-4), 1.0, torch.Generator().manual_seed(4))
    hint = "random numbers in float32: those of float16 are multiples of 2^-11"
    within = 6 * math.sqrt(1e-4 / 400_000)
    expect_close(y.double().mean(), 1e-4, rule, within=within, given="400,000 times 0.0001, step 1", hint=hint)
    rule = "the generator is the only source of randomness"
    for seed, x in ((1, torch.full((100,), 0.3)), (2, torch.zeros(0, 3)), (3, torch.ones(2, 2).double())):
        given = f"torch.rand(20), with torch.manual_seed({seed}) before a call for shape {tuple(x.shape)}"
        untouched = torch.rand(20, generator=torch.Generator().manual_seed(seed))
        expect_equal(draws_after(seed, x, 1.0), untouched, rule, given=given, hint="seed nothing, draw from generator")
    own = "the result is a tensor of its own, for the numbers that x holds now"
    for dtype in (torch.float32, torch.float64, torch.float16):
        sets = [(torch.tensor(v, dtype=dtype), 0.5, torch.Generator()) for v in ([1.0, 2.5], [-3.0, 0.0], [0.5, 1.0])]
        for got in reused(round_stochastic, sets):
            wanted = [x.float() for x, *_ in sets]
            given = f"[1, 2.5], [-3, 0], [0.5, 1], written into one {dtype} tensor one after the other, step 0.5"
            expect_equal(got, wanted, own, given=given, hint="never x itself; keep nothing")
    ### BEGIN HIDDEN TESTS
    for step in (-1, 0, -math.inf, -1e-9):
        expect_raises(ValueError, lambda s=step: round_stochastic(torch.ones(3), s, g), step_rule, given=f"step={step}")
    x = torch.randn(3, 4, 5, generator=g)
    for bad in (math.nan, math.inf, -math.inf):
        y = x.clone()
        y[2, 1, 4] = bad
        expect_raises(ValueError, lambda y=y: round_stochastic(y, 0.5, g), finite_rule, given=f"x with {bad}")
    y = round_stochastic(torch.full((500_001,), 0.5), 1.0, g)
    expect_own_numbers(y - 0.5, 0.25, "500,001 times 0.5, step 1")
    for p in (1.5e-4, 2.5e-4):
        rule = "the mean of many results is x, also if x lies very near to a multiple of step"
        y, within = round_stochastic(torch.full((400_000,), p), 1.0, g), 6 * math.sqrt(p / 400_000)
        expect_close(y.double().mean(), p, rule, within=within, given=f"400,000 times {p}, step 1")
    for step in (2.0**-90, 2.0**-9, 0.125, 1, 3, 7.0, 2.0**60):
        for dtype in (torch.float32, torch.float64):
            x = torch.randint(-(2**20), 2**20, (40,), generator=g).to(dtype) * step
            before, rule = state_of(x), "a multiple of step stays what it is"
            got = round_stochastic(x, step, g)
            expect_equal(got, x, rule, given=x, hint="the probability of going up is 0 there")
            expect_unchanged(before, state_of(x), "x itself is not changed", hint="no method that ends in _")
    rule = "x may have any shape, an empty one too, and lie in memory in any order"
    x = torch.arange(28.0).reshape(4, 7).T / 2
    for part in (x, x[:, ::2]):
        y = expect_returns(lambda part=part: round_stochastic(part, 0.5, g), rule, given="part of a tensor")
        expect_equal(y, part, rule, given="part of a tensor", hint=".view refuses it; the shape stays")
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
# nearest.

# %% [markdown]
# ## What the field reports
#
# **TensorFlow's note on 8-bit weights** (quoted in the survey): with the range −3.0 to 6.0 "128 would represent about
# 1.5". Your functions say how much "about" is. And 1.5 itself lies halfway between two codes.

# %% tags=["explore"]
_, scale, zero = quantize_tensor(torch.tensor([-3.0, 6.0]))
for code, reported in ((0, "-3.0"), (128, "about 1.5"), (255, "6.0")):
    value = dequantize_tensor(torch.tensor([float(code)]), scale, zero).item()
    print(f"code {code:3d}: the note says {reported:10s} computed {value:.6f}")
print(f"1.5 / scalefactor + zeropoint = {1.5 / scale + zero:.6f}")

# %% [markdown]
# **Signed or unsigned?** Codes may also run from −128 to 127; then the zero point of a symmetric range is 0. The cell
# computes it, and what it costs to leave −128 unused, as you do.
#
# <details><summary>For the curious: equation 2.11 of the thesis</summary>
#
# The thesis (section 2.3.1) says that the scheme works for unsigned codes $0 \dots 255$ and for signed codes
# $-128 \dots 127$, that the two "only differ in the clamp-ing part", and that for a symmetric range the zero point is 0
# in the signed format where it is 128 in the unsigned one. The last sentence is right, but then equation 2.11 cannot be
# the same for both. It must place the *lowest* code at the lower end of the range:
#
# $$ Z = \operatorname{round}\!\left(q_{\min} - \frac{a}{\Delta}\right), \qquad q_{\min} = 0 \text{ or } -2^{n-1} . $$
#
# Nor does it widen the range: the text says so in words ("which is required to contain the number 0").
#
# </details>

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
# **Per channel in a whole network.** In the thesis (Table 5.2) MobileNetV2, with 35 convolutions of 8 bits per
# channel, has an output SQNR of 11.14 dB. With only five of its layers per tensor instead it has 10.12 dB, at a cost
# of 0.31 percentage points of accuracy. The cell measures `ClassyClassifier` in the same way: it compares
# the ten outputs of the float network with those of one whose weights went through your functions.
#
# <details><summary>For the curious: the thesis' table, and its other formula</summary>
#
# Measured on ImageNet (photos of 1,000 classes); top-1 accuracy is how often the most likely class is the right one.
# Settings B and C keep some layers in float, F and G truncate instead of rounding: they are left out here.
#
# | setting (Lund thesis, Table 5.2) | output SQNR (dB) | top-1 accuracy |
# |---|---|---|
# | float reference | – | 68.05 % |
# | A: all convolutions per channel and symmetric | 11.14 | 63.81 % |
# | D: five layers of high SQNR per tensor instead | 10.70 | 63.68 % |
# | E: five layers of low SQNR per tensor instead | 10.12 | 63.50 % |
#
# You have measured one ratio of two means (equation 2.22). The thesis' profiler records something else under the same
# name: equation 4.3 takes a ratio for each activation first (sums over all images), then the *mean of the ratios*, then
# the logarithm. The cell prints both.
#
# </details>

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


# the three colours of a pixel side by side in memory: convolutions and pooling are quicker so
images, labels = normalize(data.images[:2000]).to(memory_format=torch.channels_last), data.labels[:2000]
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
# The direction is the thesis': per channel is better.
#
# <details><summary>Why the sizes cannot be compared</summary>
#
# For four reasons. You quantized the weights only; the thesis quantizes what goes into each convolution, too. Its
# network is 35 convolutions deep, so more noise piles up on the way to the output. It changes five of these layers, you
# changed all of yours. And its grids per channel are symmetric as well, yours are not.
#
# </details>
#
# **How few bits are enough?** Ristretto reports 81.44 % correct with 8-bit weights and layer outputs for a small
# network on CIFAR-10 (float: 81.69 %). The cell quantizes only the weights, per channel. Look for the number of bits
# where the curve breaks.
#
# <details><summary>For the curious: Ristretto's table</summary>
#
# Results with *dynamic fixed point*, as the survey quotes them. Dynamic fixed point is your symmetric quantizer with
# one restriction: the step of each tensor must be a power of two. (The figures in brackets stand there without
# explanation. They are never the higher ones, so we read them as accuracy before the quantized network was trained a
# little further.)
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
# </details>

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
# One bit is a special case. The step is the whole width of the channel's range, and one of the two codes means 0. So
# the other means plus or minus the *width*, on the side on which the range reaches further: weights of the other sign
# all become 0.
#
# And what does Ristretto's restriction to powers of two cost? It makes scaling a bit shift. A step rounded up to a
# power of two is up to twice as large, so the cost is up to about 6.02 dB, one bit:

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
# - A grid is two numbers: the scale factor (its step) and the zero point (the code of 0). Its range contains 0.
# - Inside the range the error is at most half a step; outside, values saturate.
# - One bit is worth 6.02 dB. The noise of a fine grid is $\Delta^2/12$.
# - Symmetric grids have zero point 0. Grids per channel have steps that are never larger than the tensor's.
# - Rounding to nearest has the smaller error, stochastic rounding has none *on average*.
#
# Three questions to finish. A few sentences each, with numbers where you can.

# %% [markdown]
# ### Question 1 (2 points): the price of zero
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
# ### Question 2 (2 points): is per channel always better?
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
# ### Question 3 (2 points): noise on purpose
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
