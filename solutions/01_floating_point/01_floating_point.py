# ---
# jupyter:
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
#   course:
#     title: Floating point
#     minutes: 160
#     check_seconds: 5
#     withhold:
#       - course_utils.numerics
#       - course_utils.demos.bit_toggler
#       - course_utils.demos.number_line
#       - gfloat
#       - ml_dtypes
#       - "@torch_fake_quantizers"
#       - "@torch_quantizers"
# ---

# %% [markdown]
# # Floating point
#
# **Goal.** You take floating-point numbers apart into their bits, put them together again, add two of them by hand,
# and round a tensor to any small format: 8 bits, 6 bits, 4 bits. You also build the plain alternative, fixed point.
# Afterwards you can say where a format is fine and where it is coarse, and which one suits a given tensor. **Time:**
# two and a half to three hours. You need Python and a little torch.
#
# include: how_to_work.md
#
# Refused here: number formats from `course_utils`, `gfloat` and `ml_dtypes`, and torch's fake quantization.
#
# <details><summary>The sources</summary>
#
# **Sources.** "The Purdue lecture" is Yung-Hsiang Lu's on static quantization in *Computer Vision for Embedded Systems*
# (Purdue University). "The ECE 209 report" is a students' project on the network YOLOv3 in small number formats
# (B. Bednarski and M. Nicholas, course *AI on Chip*, 2020). Where one of them slips, the lab says so.
#
# </details>

# %%
import math
import struct
from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np
import torch

from course_utils.checks import *
from course_utils.pictures import COLOURS, use_course_style

use_course_style()

# %% [markdown]
# ## Idea
#
# With 32 bits you can tell $2^{32}$ things apart, not more. A **number format** decides *which* numbers these are.
#
# Floating point writes numbers as science does, $-0.00123 = -1.23 \cdot 10^{-3}$: a sign, a power, and some digits. In
# binary the digit before the point is always 1, so nobody stores it:
#
# $$
# x = (-1)^{s} \cdot \left(1 + \frac{f}{2^{23}}\right) \cdot 2^{\,E - 127}
# $$
#
# In the format **float32** (IEEE 754) the **sign** $s$ is one bit, the **exponent** $E$ is a whole number of 8 bits,
# and the **fraction** $f$ is a whole number of 23 bits. $1 + f/2^{23}$ is called the **significand**: it lies in
# $[1, 2)$. The **bias** 127 lets the stored exponent stay positive while the true one, $E - 127$, may be negative.
#
# The Purdue lecture reads one number bit by bit, `0 01111100 0100…`. The exponent field is $01111100_2 = 124$, so the
# power is $2^{124 - 127} = 2^{-3}$. The fraction begins with 01, so it is worth $2^{-2} = 0.25$. The number is
# $2^{-3} \cdot 1.25 = 0.15625$. The picture shows it in float32 and in two shorter formats: float16, with 5 exponent
# bits and the bias 15, and one of 8 bits called e4m3, with 4 exponent bits and the bias 7. Look for what stays the same
# and what changes.

# %% tags=["explore"]
from course_utils.demos import bit_toggler, number_line

figure, rows = plt.subplots(3, 1, figsize=(10, 5.6))
for axes, name in zip(rows, ("float32", "float16", "e4m3"), strict=True):
    exponent_bits, mantissa_bits = bit_toggler.PRESETS[name]
    code = bit_toggler.nearest_code(0.15625, exponent_bits, mantissa_bits)
    bit_toggler.draw_bits(bit_toggler.compute_bits(code, exponent_bits, mantissa_bits), axes)
plt.show()

# %% [markdown]
# **The two special exponents.** If the leading digit were always 1, zero could not be written. So the smallest and the
# largest exponent field have a meaning of their own:
#
# | exponent field $E$ | fraction $f$ | name | value |
# |---|---|---|---|
# | 1 to 254 | any | normal | $(-1)^s \,(1 + f/2^{23}) \cdot 2^{E-127}$ |
# | 0 | not 0 | subnormal | $(-1)^s \,(0 + f/2^{23}) \cdot 2^{-126}$ |
# | 0 | 0 | zero | $+0$ or $-0$, by the sign |
# | 255 | 0 | infinity | $+\infty$ or $-\infty$, by the sign |
# | 255 | not 0 | NaN | "not a number", for example $0/0$ |
#
# Mind the subnormals. Their leading digit is 0, and their power is $2^{-126}$, **not** $2^{-127}$. So they continue
# the normal numbers with the same step, evenly down to zero. The largest subnormal is $(1 - 2^{-23}) \cdot 2^{-126}$,
# and the next number is the smallest normal one, $1 \cdot 2^{-126}$. Without them the smallest normal number would be
# followed by 0, across a gap $2^{23}$ times as wide as the step above it, and the difference of two different small
# numbers could be 0.
#
# **Steps.** Between one power of two and the next there are $2^{23}$ float32 numbers, evenly spaced. Then the power
# doubles, and so does the step. Small numbers lie close together, large ones far apart, and the *relative* step of
# normal numbers is about the same everywhere: $2^{-23}$ just at a power of two, and nearly $2^{-24}$ just below the
# next one. The leading 1 and the fraction together are called the **significant bits**: float32 has 24.

# %% [markdown]
# ## Exercise 1: from a number to its bits
#
# Write a function that gives the three fields as Python whole numbers. The number 0.15625 has the fields $(0, 124,
# 2097152)$, because $0.25 \cdot 2^{23} = 2097152$.
#
# You need not compute: the bits are in memory, you only have to look at them as a whole number. Any of these does it:
#
# - `struct.pack(">f", x)` gives the four bytes, and `struct.unpack(">I", ...)` reads four bytes as a whole number;
# - `np.float32(x).view(np.uint32)`;
# - `torch.tensor(x, dtype=torch.float32).view(torch.int32)`, where the first bit counts as a minus sign.
#
# Then cut it into pieces: `>>` shifts to the right, `& mask` keeps the lowest bits. `0b110101 >> 2` is `0b1101`, and
# `0b110101 & 0b111` is `0b101`.


# %% nbgrader={"grade_id": "float32_fields", "solution": true}
def float32_fields(x):
    """The three fields of a number's float32 bit pattern.

    Args:
        x: Python float. A number between two float32 numbers counts as the nearest one, such as 0.1. Infinities and NaN
            are allowed; finite numbers are at most as large as the largest float32 number.

    Returns:
        A tuple of three Python ints (sign, exponent, fraction), the fields as they are stored:
        sign: 0 or 1; 1 for negative numbers and for -0.0.
        exponent: 0 to 255; the bias is still in it.
        fraction: 0 to 2^23 - 1.
        NaN has the exponent 255, any fraction but 0, and either sign.
    """
    ### BEGIN SOLUTION
    (pattern,) = struct.unpack(">I", struct.pack(">f", x))
    return pattern >> 31, pattern >> 23 & 0xFF, pattern & 0x7FFFFF
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_float32_fields", "grade": true, "points": 2}
with check("float32_fields"):
    fields = float32_fields(0.15625)
    types = "the result is a tuple of three Python ints"
    expect(
        isinstance(fields, tuple) and len(fields) == 3 and all(type(n) is int for n in fields),
        types,
        given=0.15625,
        got=None if fields is None else repr(fields),
        hint="int(...) turns an element of numpy or torch into a Python int",
    )
    expect(
        float32_fields(1.0) != (0, 0, 32831),
        "the bytes are read in the order in which they were written",
        given=1.0,
        expected=(0, 127, 0),
        got=(0, 0, 32831),
        hint="the same sign, > or <, for packing and for unpacking",
    )
    rules = (
        "sign is the first bit: 0 for positive, 1 for negative numbers",
        "exponent is the stored field, with the bias in it",
        "fraction is the stored field, a whole number of 23 bits",
    )
    hints = (
        "one bit: 0 or 1, never -1",
        "shift the fraction away, then keep 8 bits; do not subtract 127",
        "keep the lowest 23 bits; the leading one is not stored",
    )
    for x, expected in (
        (0.15625, (0, 124, 2097152)),
        (1.0, (0, 127, 0)),
        (-1.0, (1, 127, 0)),
        (-2.0, (1, 128, 0)),
        (-10.5, (1, 130, 2621440)),
        (2.0 - 2.0**-23, (0, 127, 2**23 - 1)),
        ((2.0 - 2.0**-23) * 2.0**127, (0, 254, 2**23 - 1)),
        ((2.0**-23 - 2.0) * 2.0**127, (1, 254, 2**23 - 1)),
        (-(2.0**-126), (1, 1, 0)),
        *(((-1) ** n * 2.0 ** (n - 127), (n % 2, n, 0)) for n in range(1, 255)),
    ):
        for rule, hint, got, wanted in zip(rules, hints, float32_fields(x), expected, strict=True):
            expect_equal(got, wanted, rule, given=x, hint=hint)
    nearest = "a number between two float32 numbers counts as the nearest one"
    hint_nearest = (
        "Python's floats have 52 bits of fraction: convert to float32, which rounds; the fields follow from that"
    )
    for x, expected in (
        (0.1, (0, 123, 5033165)),  # up
        (-0.7, (1, 126, 3355443)),  # down
        (1 - 2.0**-26, (0, 127, 0)),  # up to the next power of two
        (-(4 - 2.0**-25), (1, 129, 0)),
    ):
        expect_equal(float32_fields(x), expected, nearest, given=f"{x!r}", hint=hint_nearest)
    for fraction in (0, 5, 2**23 - 2):  # a little below and above the middle between two neighbours
        for n in range(24, 52):
            for up in (0, 1):
                x = 1 + (fraction + 0.5) * 2.0**-23 + (2 * up - 1) * 2.0**-n / 2
                hint = "round once: what is rounded to more digits first is rounded twice"
                expect_equal(float32_fields(x), (0, 127, fraction + up), nearest, given=f"{x!r}", hint=hint)
    ### BEGIN HIDDEN TESTS
    g = generator()

    def expect_nearest(x, rule, hint):
        """The fields of the float32 number nearest to x."""
        pattern = int.from_bytes(struct.pack(">f", x), "big")
        fields = float32_fields(x)
        expect_equal(fields, (pattern >> 31, (pattern >> 23) % 256, pattern % 2**23), rule, given=f"{x!r}", hint=hint)
        expect(all(type(n) is int for n in fields), types, given=x, got=repr(fields), hint="int(...)")

    fractions = torch.randint(0, 2**23, (254,), generator=g).tolist()
    for exponent, fraction in enumerate(fractions, 1):
        scale = (-1) ** (fraction % 2) * 2.0 ** (exponent - 150)
        for exact in ((2**23 + fraction) * scale, (2**24 - 1) * scale):
            expect_nearest(exact, rules[2], hints[2])
        if exponent < 254:
            middle = (2**23 + fraction + 0.5) * scale
            n = 2.0 ** -(24 + exponent % 28)
            for x in (middle, math.nextafter(middle, 0), math.nextafter(middle, 2 * middle), middle * (1 + n)):
                expect_nearest(x, nearest, hint_nearest)
            expect_nearest((2**24 - 0.5 + n) * scale, nearest, hint_nearest)
    for x in torch.rand(50, generator=g, dtype=torch.float64).tolist():
        expect_nearest(x, nearest, hint_nearest)
    ### END HIDDEN TESTS

# %% [markdown]
# The second check is about the special exponents.


# %% nbgrader={"grade_id": "check_float32_fields_edges", "grade": true, "points": 1}
def expect_special(x, expected, rule, hint):
    """Three ints, also for special numbers, instead of an error."""
    got = expect_returns(lambda: float32_fields(x), rule, given=f"{x!r}", hint=hint)
    expect_equal(got, expected, rule, given=f"{x!r}", hint=hint)
    whole = all(type(n) is int for n in got)
    expect(whole, "the result is a tuple of three Python ints", given=f"{x!r}", got=repr(got), hint="here, too")


with check("float32_fields"):
    zero = "zero has the exponent 0 and the fraction 0, and -0.0 has the sign 1"
    hint_zero = "0 has no logarithm, and -0.0 < 0 is False: look at the bits, not at the value"
    for x, expected in ((0.0, (0, 0, 0)), (-0.0, (1, 0, 0)), (0.0, (0, 0, 0))):
        expect_special(x, expected, zero, hint_zero)
    subnormal = "subnormal numbers have the exponent 0 and keep their fraction"
    hint_subnormal = "they are stored with a leading 0, not shifted until a 1 leads"
    for fraction in (1, 5, 2**22, 2**23 - 1):
        for sign in (0, 1):
            x = (-1) ** sign * math.ldexp(fraction, -149)
            expect_special(x, (sign, 0, fraction), subnormal, hint_subnormal)
    infinite = "an infinity has the exponent 255 and the fraction 0"
    for x, sign in ((math.inf, 0), (-math.inf, 1)):
        expect_special(x, (sign, 255, 0), infinite, "only the bits count, nothing to compute")
    rule = "NaN has the exponent 255 and a fraction that is not 0"
    for pattern in ("7ff8000000000000", "fff8000000000000", "7ff0000000000001", "fff0000020000000"):  # all are NaN
        (x,) = struct.unpack(">d", bytes.fromhex(pattern))
        hint = "only the bits count, and a NaN stays one whatever is cut off"
        fields = expect_returns(lambda x=x: float32_fields(x), rule, given=f"NaN, stored as {pattern}", hint=hint)
        sign, exponent, fraction = fields
        expect(sign in (0, 1) and exponent == 255 and 0 < fraction < 2**23, rule, got=fields, hint=hint)
        expect(all(type(n) is int for n in fields), "the result is a tuple of three Python ints", got=repr(fields))
    near_zero = "a subnormal number, too, counts as the nearest one, and a tiny number as 0"
    hint = "convert to float32 first: it rounds near zero as well"
    beside = ((0.5, 0), (-0.5, 0), (0.5 + 2.0**-50, 1), (1.5, 2), (-2.5, 2), (2.5 + 2.0**-40, 3), (3.5 - 2.0**-40, 3))
    for steps, fraction in ((0.4, 0), (0.6, 1), (-0.3, 0), (3.7, 4), (-6.2, 6), (2.0**-60, 0), *beside):
        x = steps * 2.0**-149
        expect_special(x, (int(steps < 0), 0, fraction), near_zero, hint)
    expect_special((1 - 2.0**-40) * 2.0**-126, (0, 1, 0), near_zero, hint)
    expect_special((1 - 2.0**-24) * -(2.0**-126), (1, 1, 0), near_zero, hint)  # a tie: the even one
    expect_special(5e-324, (0, 0, 0), near_zero, hint)
    ### BEGIN HIDDEN TESTS
    g = generator()
    for fraction in torch.randint(1, 2**23 - 1, (50,), generator=g).tolist():
        for sign in (0, 1):
            x = (-1) ** sign * math.ldexp(fraction, -149)
            expect_special(x, (sign, 0, fraction), subnormal, hint_subnormal)
            beside = x + (-1) ** sign * 0.4 * 2.0**-149
            expect_special(beside, (sign, 0, fraction), near_zero, hint)
            expect_special(math.ldexp(x, -1030), (sign, 0, 0), near_zero, hint)
            middle = (-1) ** sign * math.ldexp(fraction + 0.5, -149)
            expect_special(middle, (sign, 0, fraction + fraction % 2), near_zero, hint)
            expect_special(math.nextafter(middle, 2 * middle), (sign, 0, fraction + 1), near_zero, hint)
            expect_special(math.nextafter(middle, 0.0), (sign, 0, fraction), near_zero, hint)
    ### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 2: from the bits to the number
#
# Now the way back, by the table in the Idea. This time do compute: the formula is the point. Python's floats have 64
# bits, so every float32 number fits into one exactly.
#
# By hand: the fields $(1, 130, 2621440)$ mean $-(1 + 0.3125) \cdot 2^{3} = -10.5$, and $(0, 0, 1)$ means $2^{-23} \cdot
# 2^{-126} = 2^{-149}$, the smallest positive float32 number.


# %% nbgrader={"grade_id": "float32_value", "solution": true}
def float32_value(sign, exponent, fraction):
    """The number that three fields stand for.

    Args:
        sign: 0 or 1.
        exponent: stored exponent, 0 to 255.
        fraction: 0 to 2^23 - 1.

    Returns:
        Python float, exact. -0.0, infinities and NaN are results like any other.

    Raises:
        ValueError: if a field is out of its range.
    """
    ### BEGIN SOLUTION
    if sign not in (0, 1) or not 0 <= exponent <= 255 or not 0 <= fraction < 2**23:
        raise ValueError(f"no float32 has the fields {sign}, {exponent}, {fraction}")
    direction = -1.0 if sign else 1.0
    if exponent == 255:
        return math.nan if fraction else direction * math.inf
    leading = 1 if exponent else 0
    return direction * (leading + fraction / 2**23) * 2.0 ** (max(exponent, 1) - 127)
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_float32_value", "grade": true, "points": 2}
def expect_value(fields, expected, rule, hint):
    """The exact number, sign included, as a Python float."""
    got = expect_returns(lambda: float32_value(*fields), rule, given=fields, hint=hint)
    expect_equal(got, expected, rule, given=fields, hint=hint)
    hint = "2.0 ** n is a float; .item() turns a one-element tensor into one"
    expect(isinstance(got, float), "the result is a Python float", given=fields, got=type(got).__name__, hint=hint)


with check("float32_value"):
    normal = "a normal number is (-1)^sign (1 + fraction / 2^23) 2^(exponent - 127)"
    for fields, expected in (
        ((0, 124, 2097152), 0.15625),
        ((0, 127, 0), 1.0),
        ((1, 130, 2621440), -10.5),
        ((0, 127, 1), 1 + 2.0**-23),
        ((1, 1, 0), -(2.0**-126)),
        ((0, 150, 2**23 - 1), 2.0**24 - 1),
        ((0, 254, 2**23 - 1), (2 - 2**-23) * 2.0**127),
    ):
        expect_value(fields, expected, normal, "a leading 1, a bias of 127, and all in Python floats")
    subnormal = "a subnormal number is (-1)^sign (0 + fraction / 2^23) 2^-126"
    hint_subnormal = "exponent field 0: no leading 1, and the power is 2^-126, not 2^-127"
    for sign, fraction in ((0, 1), (1, 1), (0, 2**22), (1, 2**23 - 1)):
        expected = (-1) ** sign * fraction / 2**23 * 2.0**-126
        expect_value((sign, 0, fraction), expected, subnormal, hint_subnormal)
    ### BEGIN HIDDEN TESTS
    g = generator()
    for exponent, fraction in enumerate(torch.randint(0, 2**23, (254,), generator=g).tolist(), 1):
        for fields in ((fraction % 2, exponent, fraction), (1 - fraction % 2, exponent, 2 ** (exponent % 24) - 1)):
            pattern = fields[0] << 31 | exponent << 23 | fields[2]
            (x,) = struct.unpack(">f", pattern.to_bytes(4, "big"))
            expect_value(fields, x, normal, "compute in Python floats, which are exact")
    for fraction in [*torch.randint(1, 2**23, (60,), generator=g).tolist(), *(2**n for n in range(23))]:
        for sign in (0, 1):
            expected = (-1) ** sign * math.ldexp(fraction, -149)
            expect_value((sign, 0, fraction), expected, subnormal, hint_subnormal)
    ### END HIDDEN TESTS

# %% nbgrader={"grade_id": "check_float32_value_edges", "grade": true, "points": 1}
with check("float32_value"):
    special = "exponent field 255 means infinity if the fraction is 0, with the sign, and NaN otherwise"
    hint_special = "ask for 255 before you compute: the formula would give 2^128"
    fractions = (1, 2**22, 2**23 - 1)
    for fields, expected in (
        *(((0, 255, 0), math.inf), ((1, 255, 0), -math.inf)),
        *(((sign, 255, fraction), math.nan) for sign in (0, 1) for fraction in fractions),
    ):
        got = expect_returns(lambda fields=fields: float32_value(*fields), special, given=fields, hint=hint_special)
        expect_equal(got, expected, special, given=fields, hint=hint_special)
        expect(isinstance(got, float), "the result is a Python float", given=fields, got=type(got).__name__)
    rule = "exponent 0 and fraction 0 mean 0.0, or -0.0 if the sign is 1"
    for sign in (0, 1):
        zero = float32_value(sign, 0, 0)
        expect_equal(zero, 0.0, rule, given=(sign, 0, 0), hint="no leading 1")
        hint = "multiply a float by -1.0: the whole number -0 is just 0"
        expect(math.copysign(1.0, zero) == (-1) ** sign, rule, given=(sign, 0, 0), got=f"{zero!r}", hint=hint)
        expect(isinstance(zero, float), "the result is a Python float", given=(sign, 0, 0), got=type(zero).__name__)
    refused = "a field out of its range is refused with a ValueError"
    for fields in (
        *((sign, exponent, 5 % (exponent + 1)) for sign in (2, -1, 256) for exponent in (0, 127, 255)),
        *((0, exponent, fraction) for exponent in (256, -1, 511, 512, -256, 10**9) for fraction in (0, 5)),
        *((1, e, fraction) for e in (0, 1, 254, 255) for fraction in (2**23, -1, 2**24, -(2**23), 3 * 2**24, 10**9)),
    ):
        expect_raises(
            ValueError,
            lambda fields=fields: float32_value(*fields),
            refused,
            given=fields,
            hint="three fields, two ends each, for every kind of number",
        )
    ### BEGIN HIDDEN TESTS
    g = generator()
    few_bits = [n << i for n in (1, 3) for i in range(22)]
    for fraction in [*torch.randint(1, 2**23, (8,), generator=g).tolist(), *few_bits]:
        for sign in (0, 1):
            fields = (sign, 255, fraction)
            expect_equal(float32_value(*fields), math.nan, special, given=fields, hint="every fraction but 0 means NaN")
        exponent = fraction % 254 + 1
        for fields in (
            *((fraction + 1, exponent, fraction), (-fraction, 0, 0), (0, 255 + fraction, fraction), (1, -fraction, 0)),
            *((0, 0, 2**23 + fraction), (1, 255, -fraction), (1, 0, -fraction), (0, exponent, -fraction)),
            *((1, exponent, 2**23 + fraction), (0, 255, 2**23 + fraction), (1 + fraction, 255, 0), (-1, 0, fraction)),
        ):
            expect_raises(
                ValueError, lambda fields=fields: float32_value(*fields), refused, given=fields, hint="all ranges"
            )
    ### END HIDDEN TESTS

# %% [markdown]
# ## Explore: click the bits
#
# Press a bit and see what becomes of the value. The sliders choose the format; in float32 your own `float32_value` is
# asked as well. Try to answer before you press anything:
#
# 1. Start at 0.15625 in float32. Which single bit doubles the value? Which one changes it least?
# 2. Set all exponent bits. What is it now? And with one fraction bit set, too?
# 3. Type 0.1, and press `float16`, `bfloat16` (8 exponent bits, 7 of fraction), `e4m3`. Which of them is nearest to
#    0.1? Which ends first if you type 100000?
# 4. Go to 0 and press `code + 1` a few times. By how much does the value grow each time, and where does this change?
#
# <details><summary>Answers</summary>
#
# 1. The last bit of the exponent: the field 124 becomes 125. The last bit of the fraction changes the value least.
# 2. Infinity; with a fraction bit, NaN.
# 3. float16 is nearest to 0.1, it has the most fraction bits of the three. e4m3 ends first (at 240), then float16 (at
#    65504).
# 4. By $2^{-149}$, through all subnormal numbers and the first normal binade. The step doubles at the exponent field 2.
#
# </details>

# %% tags=["explore"]
bit_toggler.bit_toggler_demo(float32_value)

# %% [markdown]
# <details><summary>No buttons to be seen (on paper, in a viewer)?</summary>
#
# No buttons to be seen (on paper, in a viewer)? Here are four settings. From top to bottom: 0.1, which float32 can
# only come near to; the smallest subnormal number of float16; 100000 in bfloat16, which keeps the range of float32
# and only 7 bits of fraction; and 100000 in float16, which is infinite.
#
# </details>

# %% tags=["explore"]
bit_toggler.bit_toggler_still([(0.1, "float32"), (2.0**-24, "float16"), (1e5, "bfloat16"), (1e5, "float16")])

# %% [markdown]
# The next cell prepares the checks of exercise 3. Run it and read on.

# %%
STEP_RULES = {
    "a": "a is split into a significand in [1, 2), with a's sign, and an exponent",
    "b": "b is split into a significand in [1, 2), with b's sign, and an exponent",
    "aligned": "both significands are written for the larger of the two exponents",
    "sum": "the aligned significands are added, signs included",
    "normalised": "the sum is normalised: its significand is in [1, 2), or the exponent is -126",
    "rounded": "the significand is rounded to 23 fraction bits, ties to even; 2.0 becomes 1.0 with the next exponent",
    "result": "the result is the rounded significand times its power, or infinite if the exponent exceeds 127",
}
STEP_HINTS = {
    "a": "halve while it is 2 or more; double while it is below 1, but not below the exponent -126",
    "b": "halve while it is 2 or more; double while it is below 1, but not below the exponent -126",
    "aligned": "the number with the smaller exponent gets a smaller significand; no bit is dropped",
    "sum": "plain addition of two Python floats, and the exponent of the alignment",
    "normalised": "halving raises the exponent by one, doubling lowers it by one, and it never falls below -126",
    "rounded": "round(s * 2**23) / 2**23, then look whether it became 2.0",
    "result": "float32 ends at exponent 127",
}


def type_names(step):
    """The types of a step's numbers."""
    return [type(n).__name__ for n in (step if isinstance(step, tuple) else (step,))]


def expect_steps(steps, expected, a, b):
    """Compares step by step, and speaks of the first that differs: values, and whether floats and ints stand there."""
    keys = list(STEP_RULES)
    expect(
        isinstance(steps, dict) and list(steps) == keys,
        "the steps are a dict with the keys a, b, aligned, sum, normalised, rounded, result, in this order",
        given=f"{a!r} + {b!r}",
        got=list(steps) if isinstance(steps, dict) else type(steps).__name__,
        hint='return {"a": (..., ...), "b": ...}',
    )
    for key in keys:
        got, wanted = steps[key], expected[key]
        given, texts = f'{a!r} + {b!r}, step "{key}"', {"expected": f"{wanted}", "got": f"{got}"}
        expect(
            type(got) is type(wanted) and got == wanted,
            STEP_RULES[key],
            given=given,
            hint=STEP_HINTS[key],
            **texts,
        )
        rule = "significands and the result are Python floats, exponents Python ints"
        expect(type_names(got) == type_names(wanted), rule, given=given, hint="float() and int() convert", **texts)


# %% [markdown]
# ## Exercise 3: add two numbers
#
# "How to add 3.75 and 5.125 to get 8.875?" asks the Purdue lecture. In three moves: A make the exponents equal, B add,
# C convert back to the correct format. Here they are with all numbers written out.
#
# $$
# 3.75 = 1.875 \cdot 2^1 \qquad\qquad 5.125 = 1.28125 \cdot 2^2
# $$
#
# 1. **Align.** The number with the *smaller* exponent is written with the larger one. Its significand moves to the
#    right, by one place for each power: $3.75 = 0.9375 \cdot 2^2$.
# 2. **Add** the significands: $0.9375 + 1.28125 = 2.21875$, still times $2^2$.
# 3. **Normalise.** 2.21875 is not in $[1, 2)$. Halve it and raise the exponent: $1.109375 \cdot 2^3$. (After a
#    subtraction it may be *below* 1. Then double it and lower the exponent, as often as needed.)
# 4. **Round** the significand to 23 bits of fraction, because no more can be stored. Here nothing changes. If a value
#    lies exactly between two neighbours, the one whose last bit is 0 wins ("ties to even"), so that ties do not all
#    push in one direction. Rounding may give exactly 2.0: then it is $1.0$ with the next exponent.
# 5. **Result**: $1.109375 \cdot 2^3 = 8.875$.
#
# Your function shows each of these steps. Two things keep it simple. Signs travel with the significands: $-5.125$ is
# $-1.28125 \cdot 2^2$, and adding does the rest. And the significands are Python floats with 53 significant bits, so
# halving and doubling them is exact.
#
# Near zero there is one limit: the smallest exponent is $-126$. A subnormal number, or zero, has a significand below
# 1 and the exponent $-126$. Normalising stops there, too.
#
# `math.frexp(x)` may help: it gives $(m, e)$ with $x = m \cdot 2^e$ and $0.5 \le |m| < 1$. `round` of a Python float
# rounds ties to even.
#
# <details><summary>For the curious: what hardware does</summary>
#
# Hardware keeps only three extra bits while it adds (called guard, round and sticky), chosen so that the rounded result
# is the same as with infinitely many. It also takes infinities and NaN, gives a zero result its sign, and knows the
# other rounding directions of IEEE 754: the exercise leaves these out.
#
# </details>


# %% nbgrader={"grade_id": "add_float32", "solution": true}
def add_float32(a, b):
    """Adds two float32 numbers and shows every step.

    A significand carries the number's sign. Its size is in [1, 2), or in [0, 1) if the exponent is -126, which is the
    smallest exponent there is (subnormal numbers and zero).

    Args:
        a, b: finite Python floats that float32 holds exactly.

    Returns:
        A new dict with these keys, in this order. Significands are Python floats, exponents Python ints without bias.
        "a": (significand, exponent) of a, so that a = significand * 2^exponent.
        "b": the same of b.
        "aligned": (significand of a, significand of b, exponent), both for the larger of the two exponents.
        "sum": (significand, exponent), the sum of the aligned significands as Python adds them.
        "normalised": (significand, exponent), the same number with a significand as described above.
        "rounded": (significand, exponent), rounded to 23 bits of fraction, ties to even. If this gives 2.0 or -2.0, it
            is 1.0 or -1.0 with the next exponent. The exponent may exceed 127 here.
        "result": Python float, the number; an infinity with its sign if the rounded exponent exceeds 127.

    Raises:
        ValueError: if a or b is infinite or NaN.
    """
    ### BEGIN SOLUTION
    if not (math.isfinite(a) and math.isfinite(b)):
        raise ValueError(f"only finite numbers can be added here, not {a} and {b}")

    def normalise(significand, exponent):
        while abs(significand) >= 2:
            significand, exponent = significand / 2, exponent + 1
        while abs(significand) < 1 and exponent > -126:
            significand, exponent = significand * 2, exponent - 1
        return significand, exponent

    a_significand, a_exponent = normalise(a, 0)
    b_significand, b_exponent = normalise(b, 0)
    exponent = max(a_exponent, b_exponent)
    a_aligned = a_significand * 2.0 ** (a_exponent - exponent)
    b_aligned = b_significand * 2.0 ** (b_exponent - exponent)
    total = a_aligned + b_aligned
    normalised = normalise(total, exponent)
    rounded = normalise(round(normalised[0] * 2**23) / 2**23, normalised[1])
    result = math.copysign(math.inf, total) if rounded[1] > 127 else rounded[0] * 2.0 ** rounded[1]
    return {
        "a": (a_significand, a_exponent),
        "b": (b_significand, b_exponent),
        "aligned": (a_aligned, b_aligned, exponent),
        "sum": (total, exponent),
        "normalised": normalised,
        "rounded": rounded,
        "result": result,
    }
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_add_float32", "grade": true, "points": 3}
### BEGIN HIDDEN TESTS
def exact_split(x):
    """Significand and exponent of a Fraction, by its fields and not by halving."""
    if not x:
        return 0.0, -126
    exponent = max(math.frexp(float(abs(x)))[1] - 1, -126)
    return float(x / Fraction(2) ** exponent), exponent


def exact_steps(a, b):
    parts = exact_split(Fraction(a)), exact_split(Fraction(b))
    exponent = max(parts[0][1], parts[1][1])
    aligned = [float(Fraction(x) / Fraction(2) ** exponent) for x in (a, b)]
    total = aligned[0] + aligned[1]
    normalised = exact_split(Fraction(total) * Fraction(2) ** exponent)
    significand = Fraction(round(Fraction(normalised[0]) * 2**23), 2**23)  # a Fraction rounds ties to even, exactly
    rounded = float(significand), normalised[1]
    if abs(significand) == 2:
        rounded = float(significand / 2), normalised[1] + 1
    with np.errstate(over="ignore"):
        result = float(np.float32(a) + np.float32(b))  # the machine's own addition
    return {
        "a": parts[0],
        "b": parts[1],
        "aligned": (*aligned, exponent),
        "sum": (total, exponent),
        "normalised": normalised,
        "rounded": rounded,
        "result": result,
    }


### END HIDDEN TESTS
@probe
def results_in_turn(pairs):
    """The steps of each sum, as they are when all have been added; then of the first once more, when its dict has been
    emptied."""
    steps = [add_float32(a, b) for a, b in pairs]
    told = [dict(s) for s in steps]
    for s in steps:
        s.clear()
    return [*told, add_float32(*pairs[0])]


with check("add_float32"):
    expected = {
        "a": (1.875, 1),
        "b": (1.28125, 2),
        "aligned": (0.9375, 1.28125, 2),
        "sum": (2.21875, 2),
        "normalised": (1.109375, 3),
        "rounded": (1.109375, 3),
        "result": 8.875,
    }
    expect_steps(add_float32(3.75, 5.125), expected, 3.75, 5.125)
    expected |= {"b": (-1.28125, 2), "aligned": (0.9375, -1.28125, 2), "sum": (-0.34375, 2)}
    expected |= {"normalised": (-1.375, 0), "rounded": (-1.375, 0), "result": -1.375}
    expect_steps(add_float32(3.75, -5.125), expected, 3.75, -5.125)
    expected = {"a": (1.0, 0), "b": (1.0, 0), "aligned": (1.0, 1.0, 0), "sum": (2.0, 0)}
    expected |= {"normalised": (1.0, 1), "rounded": (1.0, 1), "result": 2.0}
    expect_steps(add_float32(1.0, 1.0), expected, 1.0, 1.0)
    pairs = [(3.75, 5.125), (1.0, 1.0), (1.0, -1.0), (3.75, 5.125)]
    results = [list(steps.values())[-1:] for steps in results_in_turn(pairs)]
    rule = "each call makes a dict of its own"
    hint = "no shared one, and none that is kept"
    given = f"{pairs} and, when the dicts have been emptied, the first again; the results"
    expect_equal(results, [[8.875], [2.0], [0.0], [8.875], [8.875]], rule, given=given, hint=hint)
    ### BEGIN HIDDEN TESTS
    g = generator()
    for spread in (1.0, 8.0, 40.0):
        powers = (torch.rand(2, 120, generator=g, dtype=torch.float64) * 2 - 1) * spread
        numbers = torch.randn(2, 120, generator=g, dtype=torch.float64) * 2**powers
        for a, b in numbers.float().T.tolist():
            expect_steps(add_float32(a, b), exact_steps(a, b), a, b)
    for apart in range(26):  # ties, whatever the exponents' difference: the smaller number ends half a step lower
        for sign in (1, -1):
            a, b, power = (int(torch.randint(2**23, 2**24, (), generator=g)) for _ in range(3))
            b = ((b >> apart) | 1) * sign
            a, b = math.ldexp(a, power % 200 - 123), math.ldexp(b, power % 200 - 124)
            expect_steps(add_float32(a, b), exact_steps(a, b), a, b)
            expect_steps(add_float32(-b, -a), exact_steps(-b, -a), -b, -a)
    ### END HIDDEN TESTS

# %% [markdown]
# The second check is about what is rare by chance.


# %% nbgrader={"grade_id": "check_add_float32_edges", "grade": true, "points": 2}
### BEGIN HIDDEN TESTS
def exact_split(x):  # noqa: F811
    """Significand and exponent of a Fraction, by its fields and not by halving."""
    if not x:
        return 0.0, -126
    exponent = max(math.frexp(float(abs(x)))[1] - 1, -126)
    return float(x / Fraction(2) ** exponent), exponent


def exact_steps(a, b):
    parts = exact_split(Fraction(a)), exact_split(Fraction(b))
    exponent = max(parts[0][1], parts[1][1])
    aligned = [float(Fraction(x) / Fraction(2) ** exponent) for x in (a, b)]
    total = aligned[0] + aligned[1]
    normalised = exact_split(Fraction(total) * Fraction(2) ** exponent)
    significand = Fraction(round(Fraction(normalised[0]) * 2**23), 2**23)  # a Fraction rounds ties to even, exactly
    rounded = float(significand), normalised[1]
    if abs(significand) == 2:
        rounded = float(significand / 2), normalised[1] + 1
    with np.errstate(over="ignore"):
        result = float(np.float32(a) + np.float32(b))  # the machine's own addition
    return {
        "a": parts[0],
        "b": parts[1],
        "aligned": (*aligned, exponent),
        "sum": (total, exponent),
        "normalised": normalised,
        "rounded": rounded,
        "result": result,
    }


### END HIDDEN TESTS
@probe
def types_of_steps(pairs):
    """The types of the numbers in each step of each sum, as text."""
    numbers = [{key: s if isinstance(s, tuple) else (s,) for key, s in add_float32(a, b).items()} for a, b in pairs]
    return [{key: [type(n).__name__ for n in step] for key, step in steps.items()} for steps in numbers]


with check("add_float32"):
    largest, ulp = (2 - 2.0**-23) * 2.0**127, 2.0**-23
    tie, zero = STEP_RULES["rounded"], "zero has the significand 0 and the exponent -126"
    small = "subnormal numbers keep the exponent -126"
    for rule, hint, a, b, expected in (
        (
            "aligning drops no bit: only the step rounded does",
            "the aligned significand of the small number is 2^-24; keep it until you round",
            *(16777216.0, 1.0),
            {"sum": (1 + 2.0**-24, 24)},
        ),
        (tie, "a tie: the even neighbour is 1.0", 16777216.0, 1.0, {"rounded": (1.0, 24), "result": 16777216.0}),
        (tie, "round()", 16777218.0, 1.0, {"rounded": (1 + 2 * ulp, 24), "result": 16777220.0}),
        (tie, "round()", -16777216.0, -1.0, {"rounded": (-1.0, 24), "result": -16777216.0}),
        (
            tie,
            "look at the significand again after rounding",
            *(2 - ulp, 2.0**-24),
            {"normalised": (2 - 2.0**-24, 0), "rounded": (1.0, 1), "result": 2.0},
        ),
        (tie, "just above a tie", 1.0, ulp / 2 * (1 + ulp), {"rounded": (1 + ulp, 0), "result": 1 + ulp}),
        (tie, "just below a tie", 1 + ulp, ulp / 2 * (1 - ulp / 2), {"rounded": (1 + ulp, 0), "result": 1 + ulp}),
        (tie, "equal exponents, too", 1.5, 1.5 + ulp, {"normalised": (1.5 + ulp / 2, 1), "rounded": (1.5, 1)}),
        (tie, "equal exponents, too", 1.5, 1.5 + 3 * ulp, {"rounded": (1.5 + 2 * ulp, 1), "result": 3 + 4 * ulp}),
        (
            "the difference of equal numbers is 0, with significand 0 and exponent -126 after normalising",
            "0 cannot be doubled into [1, 2): stop at the exponent -126",
            *(5.125, -5.125),
            {"sum": (0.0, 2), "normalised": (0.0, -126), "rounded": (0.0, -126), "result": 0.0},
        ),
        (
            "the sum is normalised as often as needed",
            "one doubling is not enough here",
            *(1.0, -1 + 2.0**-24),
            {"sum": (2.0**-24, 0), "normalised": (1.0, -24), "result": 2.0**-24},
        ),
        (zero, "stop at the exponent -126", 0.0, 1.5, {"a": (0.0, -126), "aligned": (0.0, 1.5, 0), "result": 1.5}),
        (zero, "stop at the exponent -126", 0.0, 0.0, {"b": (0.0, -126), "sum": (0.0, -126), "result": 0.0}),
        (
            small,
            "never below -126",
            2.0**-149,
            2.0**-149,
            {"a": (ulp, -126), "sum": (2 * ulp, -126), "result": 2.0**-148},
        ),
        (small, "never below -126", 2.0**-126, -(2.0**-149), {"normalised": (1 - ulp, -126)}),
        (small, "the smallest of all is not 0", 2.0**-126, 2.0**-149 - 2.0**-126, {"normalised": (ulp, -126)}),
        (small, "1.0 is normal again", 2.0**-126 - 2.0**-149, 2.0**-149, {"normalised": (1.0, -126)}),
        (
            "numbers far apart are aligned, too",
            "however small the significand gets",
            *(2.0**127, -(2.0**-126)),
            {"aligned": (1.0, -(2.0**-253), 127), "result": 2.0**127},
        ),
        (
            "aligning drops no bit: only the step rounded does",
            "Python's floats hold 53 bits of the sum",
            *(1.0, 2.0**-40),
            {"sum": (1 + 2.0**-40, 0), "normalised": (1 + 2.0**-40, 0), "result": 1.0},
        ),
        (STEP_RULES["a"], "a stays a, however large b is", 1.0, 2.0**30, {"a": (1.0, 0), "b": (1.0, 30)}),
        (STEP_RULES["b"], "b stays b, however large it is", 1.5, 1.25 * 2.0**100, {"a": (1.5, 0), "b": (1.25, 100)}),
        (
            STEP_RULES["normalised"],
            "just below a power of two: log2 rounds, frexp does not",
            *(2.0**100, -(2.0**47)),
            {"sum": (1 - 2.0**-53, 100), "normalised": (2 - 2.0**-52, 99), "rounded": (1.0, 100)},
        ),
    ):
        for sign in (1, -1):
            steps = expect_returns(
                lambda a=sign * a, b=sign * b: add_float32(a, b), rule, given=f"{a!r} + {b!r}", hint=hint
            )
            for key, wanted in expected.items():
                signs = [sign] * (len(wanted) - 1) + [1] if isinstance(wanted, tuple) else sign
                wanted = (
                    tuple(s * w for s, w in zip(signs, wanted, strict=True))
                    if isinstance(signs, list)
                    else sign * wanted
                )
                given = f'{sign * a!r} + {sign * b!r}, step "{key}"'
                same = steps[key] == wanted and type_names(steps[key]) == type_names(wanted)
                expect(same, rule, given=given, expected=f"{wanted}", got=f"{steps[key]}", hint=hint)
    rule = STEP_RULES["result"]
    for a, b, rounded, result in (
        (largest, largest, (2 - ulp, 128), math.inf),
        (-largest, -largest, (ulp - 2, 128), -math.inf),
        (largest, 2.0**103, (1.0, 128), math.inf),
        (-largest, -(2.0**103), (-1.0, 128), -math.inf),
        (largest, 2.0**102, (2 - ulp, 127), largest),
        (2.0**127, 2.0**127 + 2.0**104, (1.0, 128), math.inf),
        (-(2.0**127), -(2.0**127) - 3 * 2.0**104, (-1 - 2 * ulp, 128), -math.inf),
    ):
        given = f"{a!r} + {b!r}"
        steps = expect_returns(
            lambda a=a, b=b: add_float32(a, b), rule, given=given, hint="the exponent may exceed 127"
        )
        got = f"{steps['rounded']}, {steps['result']}"
        holds = steps["rounded"] == rounded and steps["result"] == result
        hint = "keep the exponent in the step rounded; only the result becomes infinite, with the sum's sign"
        expect(holds, rule, given=given, expected=f"{rounded}, {result}", got=got, hint=hint)
    pair, pairs = ["float", "int"], [(3.75, 5.125), (largest, largest), (-largest, -largest), (1.0, -1.0), (0.0, 0.0)]
    types = {"a": pair, "b": pair, "aligned": ["float", "float", "int"], "sum": pair}
    types |= {"normalised": pair, "rounded": pair, "result": ["float"]}
    for (a, b), got in zip(pairs, types_of_steps(pairs), strict=True):
        for key, wanted in types.items():
            given = f'{a!r} + {b!r}, types of the step "{key}"'
            expect_equal(
                got[key],
                wanted,
                "significands and the result are Python floats, exponents Python ints",
                given=given,
                hint="float() and int() convert NumPy's numbers",
            )
    for bad in (math.inf, -math.inf, math.nan):
        for a, b in ((bad, 1.0), (1.0, bad), (bad, bad)):
            expect_raises(
                ValueError,
                lambda a=a, b=b: add_float32(a, b),
                "infinities and NaN are refused with a ValueError",
                given=(a, b),
                hint="both numbers are to be looked at",
            )
    ### BEGIN HIDDEN TESTS
    g = generator()
    pairs = [
        *((1 + ulp, ulp / 2), (1 + 2 * ulp, ulp / 2), (-1 - ulp, -ulp / 2), (1 + 2 * ulp, -ulp / 4)),  # ties
        *(
            (1.0, ulp / 2 * (1 + ulp)),
            (1 + 2 * ulp, ulp / 2 * (1 + ulp)),
            (1 + ulp, ulp / 2 * (1 - ulp / 2)),
        ),  # nearly ties
        *((2 - ulp, ulp), (2 - ulp, ulp / 2), (-(4 - 2 * ulp), -ulp)),  # up to the next power
        *((1.0, -1 + ulp / 2), (1 + ulp, -1.0), (2.0, -2 + ulp)),  # many leading zeros
        *((0.0, 0.0), (0.0, 1.5), (-3.0, 0.0), (0.0, 2.0**-149), (1.25, -1.25), (-(2.0**-130), 2.0**-130)),
        *((2.0**-149, 2.0**-149), (2.0**-126, -(2.0**-149)), (2.0**-126 - 2.0**-149, 2.0**-149)),  # subnormal
        *((2.0**-126 * 1.5, -(2.0**-126)), (2.0**-130, 2.0**-131), (-(2.0**-140), 2.0**-127)),
        *((largest, largest), (-largest, -largest), (largest, 2.0**103), (largest, 2.0**102), (2.0**127, 2.0**127)),
        *((largest, 2.0**-149), (1.0, 2.0**-149), (2.0**127, -(2.0**-126))),  # far apart
    ]
    small = torch.randint(1, 2**25, (2, 60), generator=g) * (1 - 2 * torch.randint(0, 2, (2, 60), generator=g))
    pairs += [(math.ldexp(a, -149), math.ldexp(b, -149)) for a, b in small.div(2).long().T.tolist()]
    lone = torch.randint(2**23, 2**24 - 1, (60,), generator=g)
    pairs += [(math.ldexp(n, -23), math.ldexp(1, -24)) for n in lone.tolist()]
    pairs += [(math.ldexp(n, -20), -math.ldexp(n + 1, -20)) for n in lone.tolist()]
    pairs += [(math.ldexp(n, -23), math.ldexp(2**24 - n, -23)) for n in lone.tolist()[:20]]  # 2.0 exactly
    pairs += [(math.ldexp(n, 104), math.ldexp(n | 1, 104)) for n in lone.tolist()[:10]]  # beyond 2^128
    powers = torch.randint(8, 96, (20,), generator=g).tolist()  # just below a power, so that log2 gives the power
    pairs += [(s * 2.0**p, -s * 2.0 ** (p - 53)) for power in powers for s, p in ((1, power), (-1, -power))]
    for a, b in pairs:
        for left, right in ((a, b), (b, a)):
            given = f"{left!r} + {right!r}"
            steps = expect_returns(
                lambda left=left, right=right: add_float32(left, right),
                rule,
                given=given,
                hint="zero, subnormal numbers and sums above the largest float32 number are ordinary inputs",
            )
            expect_steps(steps, exact_steps(left, right), left, right)
    for bad in (math.inf, -math.inf, math.nan):
        for a, b in ((bad, 0.0), (-(2.0**-149), bad), (bad, -bad)):
            expect_raises(
                ValueError,
                lambda a=a, b=b: add_float32(a, b),
                "infinities and NaN are refused with a ValueError",
                given=(a, b),
                hint="both numbers are to be looked at",
            )
    ### END HIDDEN TESTS

# %% [markdown]
# ## Explore: the sum on paper
#
# Your own steps for 3.75 + 5.125, in binary, digit under digit. Change the two numbers, for instance to 3.75 and
# −5.125, or 1 and 0.03125. (Only the sizes are drawn.)

# %% tags=["explore"]
a, b = 3.75, 5.125

steps = add_float32(a, b)
for name, step in steps.items():
    print(f"{name:11s} {step}")
a_aligned, b_aligned, exponent = steps["aligned"]
total, (significand, power) = steps["sum"][0], steps["normalised"]
figure, axes = plt.subplots(figsize=(8, 2.6))
rows = [
    (f"{a:g} / 2^{exponent}", abs(a_aligned)),
    (f"{b:g} / 2^{exponent}", abs(b_aligned)),
    (f"sum / 2^{exponent}", abs(total)),
    (f"normalised: sum / 2^{power}", abs(significand)),
]
bit_toggler.draw_columns(axes, rows, line_above=2)
plt.show()

# %% [markdown]
# **What gets lost.** If the exponents differ by 26 or more, the sum is the larger number itself. Here a number is taken
# from 1:

# %% tags=["explore"]
for n in range(22, 28):
    b = -1.5 * 2.0**-n  # its exponent is -n, that of 1 is 0
    taken = 1 - add_float32(1.0, b)["result"]
    print(f"exponents differ by {n}: of {-b:.3g}, {taken:.3g} is taken away")

# %% [markdown]
# This happens to every running sum that grows while its updates do not. Here 0.01 is added again and again in three
# formats. A short significand stops early.

# %% tags=["explore"]
count = 5000
figure, axes = plt.subplots(figsize=(7.5, 3.6))
axes.plot(np.arange(count + 1) * 0.01, color=COLOURS["black"], linestyle="--", linewidth=1.2, zorder=5, label="exact")
for dtype, colour, bits in (
    (torch.float32, "green", 24),
    (torch.float16, "blue", 11),
    (torch.bfloat16, "vermillion", 8),
):
    update, sums = torch.tensor(0.01, dtype=dtype), [torch.tensor(0.0, dtype=dtype)]
    for _ in range(count):
        sums.append(sums[-1] + update)
    name = str(dtype).removeprefix("torch.")
    axes.plot([s.item() for s in sums], color=COLOURS[colour], label=f"{name}, {bits} significant bits")
    print(f"{name:9s} after {count} additions of 0.01: {sums[-1].item():.4f}   (exact {count * 0.01:.4f})")
axes.set_xlabel("number of additions of 0.01")
axes.set_ylabel("running sum")
axes.set_title("A sum stands still once an update is less than half a step")
axes.legend()
plt.show()

# %% [markdown]
# <details><summary>And before it stops, it goes wrong</summary>
#
# And before it stops, it goes wrong. Between 16 and 32 the numbers of float16 lie $2^{-6} \approx 0.0156$ apart. 0.01
# is more than half of this step, so each addition is rounded up to a whole one, and the line climbs too fast. From 32
# on the step is twice as large, 0.01 is less than half of it, and nothing is added at all.
#
# </details>

# %% [markdown]
# ## Exercise 4: all values of a minifloat
#
# Nothing in the rules needs 32 bits. With $e$ exponent bits and $m$ mantissa bits (another word for fraction bits) we
# get the format "e3m4", "e5m2" and so on, a **minifloat** of $1 + e + m$ bits. The rules stay:
#
# - the bias is $2^{e-1} - 1$;
# - exponent field 0 means subnormal: $f / 2^m \cdot 2^{1 - \text{bias}}$;
# - the largest exponent field is reserved for infinity and NaN;
# - every other field $E$ means $(1 + f / 2^m) \cdot 2^{E - \text{bias}}$.
#
# By hand, e2m1, four bits in all. The bias is 1. Field 0 gives 0 and $\frac12 \cdot 2^0 = 0.5$. Field 1 gives 1 and
# 1.5, field 2 gives 2 and 3, field 3 is reserved. With signs, these are 11 different values: $-3, -2, -1.5, -1, -0.5,
# 0, 0.5, 1, 1.5, 2, 3$.
#
# The same for e3m4: bias 3, largest field in use 6, so the largest value is $(1 + 15/16) \cdot 2^{6-3} = 15.5$.
#
# <details><summary>For the curious: a slip in the ECE 209 report</summary>
#
# (The ECE 209 report says that the bias "is equal to half of the max representation of that number of bits". For three
# bits that would be $7 / 2 = 3.5$. It is the half rounded down, 3. And only with that does the format end at 15.5, as
# the report itself says later.)
#
# </details>


# %% nbgrader={"grade_id": "minifloat_values", "solution": true}
def minifloat_values(exponent_bits, mantissa_bits):
    """Every finite value of an IEEE-style minifloat.

    Args:
        exponent_bits: whole number from 1 to 8. With 1, there are only subnormal values.
        mantissa_bits: whole number from 1 to 10.

    Returns:
        New float32 tensor with one dimension, whatever torch's default dtype is: all finite values, negative ones too,
        in ascending order, each once. (There is one zero in it: 0.0 and -0.0 are the same value.)

    Raises:
        ValueError: if one of the numbers of bits is out of its range.
    """
    ### BEGIN SOLUTION
    if not (1 <= exponent_bits <= 8 and 1 <= mantissa_bits <= 10):
        raise ValueError(f"no minifloat here has {exponent_bits} exponent and {mantissa_bits} mantissa bits")
    bias = 2 ** (exponent_bits - 1) - 1
    values = set()
    for field in range(2**exponent_bits - 1):  # the largest field is reserved
        for fraction in range(2**mantissa_bits):
            leading = 1 if field else 0
            value = (leading + fraction / 2**mantissa_bits) * 2.0 ** (max(field, 1) - bias)
            values |= {value, -value}
    return torch.tensor(sorted(values), dtype=torch.float32)
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_minifloat_values", "grade": true, "points": 3}
def expect_format(e, m, largest, smallest):
    """What can be said of every format: its ends, its order, how many values it has, and its steps."""
    given = f"e{e}m{m}"
    values = expect_returns(lambda: minifloat_values(e, m), "1 to 8 exponent and 1 to 10 mantissa bits", given=given)
    rule = "the largest value has the exponent field 2^e - 2 and a fraction of all ones"
    hint = "the field 2^e - 1 is reserved, and the bias is 2^(e-1) - 1"
    expect_equal(values.max(), largest, rule, given=given, hint=hint)
    rule = "exponent field 0 means subnormal: f / 2^m times 2^(1 - bias)"
    expect_equal(values[values > 0].min(), smallest, rule, given=given, hint="no leading 1, and the power of field 1")
    rule = "the values are in ascending order, each once"
    hint = "0.0 and -0.0 are one value; sort at the end"
    expect((values.diff() > 0).all(), rule, given=given, hint=hint)
    rule = "all finite values are there, of both signs"
    hint = "2^e - 1 exponent fields, 2^m fractions each, two signs, and 0 counts once"
    expect_equal(len(values), 2 * (2**e - 1) * 2**m - 1, rule, given=given, hint=hint)
    expect_equal(values, -values.flip(0), rule, given=given, hint="for each value its negative")
    normal = values[values >= 2.0 ** (2 - 2 ** (e - 1))].double()  # each binade holds 2^m evenly spaced values
    rule = "a normal value is (1 + f / 2^m) 2^(E - bias) with bias 2^(e-1) - 1"
    scaled = torch.frexp(normal).mantissa * 2 ** (m + 1)  # 2^m, 2^m + 1, ... up to 2^(m+1) - 1
    wanted = torch.arange(2**m, 2 ** (m + 1)).repeat(2**e - 2)
    expect_equal(scaled, wanted, rule, given=f"{given}, (1 + f / 2^m) 2^m", hint="the fraction counts in units of 2^-m")
    rule = "exponent field 0 means subnormal: f / 2^m times 2^(1 - bias)"
    small = values[(values >= 0) & (values < 2.0 ** (2 - 2 ** (e - 1)))].double() / smallest
    expect_equal(small, torch.arange(2**m), rule, given=f"{given}, in steps of the smallest", hint="evenly, down to 0")
    expect(values.dtype == torch.float32, "the result is a float32 tensor with one dimension", given=given)


@probe
def values_after_changes(e, m):
    """The values of three calls in a row, when each result is overwritten before the next call."""
    told = []
    for _ in range(3):
        values = minifloat_values(e, m)
        told.append(values.clone())
        values.zero_()
    return told


@probe
def values_with_default(dtype, e, m):
    """The values when torch's default dtype is another one."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return minifloat_values(e, m)
    finally:
        torch.set_default_dtype(before)


with check("minifloat_values"):
    values = minifloat_values(2, 1)
    expect(
        isinstance(values, torch.Tensor) and values.dtype == torch.float32 and values.dim() == 1,
        "the result is a float32 tensor with one dimension",
        got=f"{type(values).__name__}, {getattr(values, 'dtype', '')}, {tuple(getattr(values, 'shape', ()))}",
        hint="torch.tensor takes a list of numbers, and a dtype",
    )
    for e, m, largest, smallest in (
        *((3, 4, 15.5, 2.0**-6), (4, 3, 240.0, 2.0**-9), (5, 2, 57344.0, 2.0**-16), (2, 10, 4 - 2.0**-9, 2.0**-10)),
        *((5, 10, 65504.0, 2.0**-24), (8, 1, 1.5 * 2.0**127, 2.0**-127), (7, 10, (2 - 2.0**-10) * 2.0**63, 2.0**-72)),
        *((6, 1, 1.5 * 2.0**31, 2.0**-31), (7, 2, 1.75 * 2.0**63, 2.0**-64), (2, 5, 3.9375, 2.0**-5)),
        *((3, 6, 15.875, 2.0**-8), (2, 9, 4 - 2.0**-8, 2.0**-9), (8, 8, (2 - 2.0**-8) * 2.0**127, 2.0**-134)),
    ):
        expect_format(e, m, largest, smallest)
    rule = "a normal value is (1 + f / 2^m) 2^(E - bias) with bias 2^(e-1) - 1"
    expect_equal(values, [-3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3], rule, given="e2m1", hint="see the text above")
    rule = "each call makes a tensor of its own"
    hint = "hand out a new tensor, or a clone of one that you keep"
    given = "e3m1, three calls, each result set to 0 before the next call"
    positive = torch.tensor([0, 0.125, 0.25, 0.375, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12])
    expected = torch.cat([-positive[1:].flip(0), positive])
    expect_equal(values_after_changes(3, 1), [expected] * 3, rule, given=given, hint=hint)
    rule = "the result is a float32 tensor, whatever torch's default dtype is"
    for dtype in (torch.float64, torch.float16):
        got, given = values_with_default(dtype, 4, 10), f"e4m10, default dtype {dtype}"
        hint = "say the dtype when you make the tensor"
        expect_type(got, torch.float32, rule, given=given, hint=hint)
        expect_equal(got, minifloat_values(4, 10), rule, given=given, hint=hint)
    ### BEGIN HIDDEN TESTS
    g = generator()

    def listed(e, m):
        """In whole steps of the subnormals: the codes 0, 1, 2, ... of the positive values, one after the other."""
        codes = np.arange((2**e - 1) * 2**m, dtype=np.int64)
        field, fraction = codes >> m, codes & (2**m - 1)
        normal = np.ldexp(2.0**m + fraction, np.maximum(field - 1, 0))
        positive = np.where(field == 0, fraction, normal) * 2.0 ** (2 - 2 ** (e - 1) - m)
        return torch.from_numpy(np.concatenate([-positive[:0:-1], positive]))

    rule = "a normal value is (1 + f / 2^m) 2^(E - bias) with bias 2^(e-1) - 1"
    for e, m in [(e, m) for e in range(1, 9) for m in range(1, 11) if e + m <= 11 or (e, m) == (3, 10)]:
        got, given = minifloat_values(e, m), f"e{e}m{m}"
        expect_equal(got, listed(e, m), rule, given=given, hint="the fraction counts in units of 2^-m")
        expect_type(got, torch.float32, "the result is a float32 tensor with one dimension", given=given)
    for e, m in torch.randint(1, 6, (3, 2), generator=g).tolist():
        rule, given = "each call makes a tensor of its own", f"e{e}m{m}, three calls, each result set to 0"
        expect_equal(values_after_changes(e, m), [listed(e, m)] * 3, rule, given=given, hint="hand out a new one")
    patterns = np.arange(2**16, dtype=np.uint16)
    halves = patterns.view(np.float16).astype(np.float64)
    halves = np.unique(halves[np.isfinite(halves)])
    expect_equal(minifloat_values(5, 10), torch.from_numpy(halves), rule, given="e5m10", hint="all values of float16")
    brains = (patterns.astype(np.uint32) << 16).view(np.float32)
    brains = np.unique(brains[np.isfinite(brains)]).astype(np.float64)
    expect_equal(minifloat_values(8, 7), torch.from_numpy(brains), rule, given="e8m7", hint="all values of bfloat16")
    ### END HIDDEN TESTS

# %% nbgrader={"grade_id": "check_minifloat_values_edges", "grade": true, "points": 1}
with check("minifloat_values"):
    one_zero = "0.0 and -0.0 are one value"
    rule = "with one exponent bit all values are subnormal, in steps of 2^(1 - m)"
    hint = "the bias is 0, field 1 is reserved, and nothing but field 0 is left"
    for m in (1, 2, 10):
        top, given = 2**m - 1, f"e1m{m}"
        got = expect_returns(lambda m=m: minifloat_values(1, m), rule, given=given, hint=hint)
        types = "the result is a float32 tensor with one dimension"
        expect_type(got, torch.float32, types, given=given, hint="torch.tensor takes a list and a dtype")
        expect_equal(int((got == 0).sum()), 1, one_zero, given=f"{given}, how many zeros", hint="a set holds it once")
        expect_equal(got, torch.arange(-top, top + 1).float() * 2.0 ** (1 - m), rule, given=given, hint=hint)
    refused = "a number of bits out of its range is refused with a ValueError"
    for e, m in ((0, 3), (9, 3), (-1, 3), (4, 0), (4, 11), (4, -2), (1, 11), (9, 1), (8, 11), (8, 0), (1, 0), (16, 2)):
        expect_raises(
            ValueError,
            lambda e=e, m=m: minifloat_values(e, m),
            refused,
            given=f"exponent_bits={e}, mantissa_bits={m}",
            hint="1 to 8 exponent bits, 1 to 10 mantissa bits",
        )
    ### BEGIN HIDDEN TESTS
    for m in range(1, 11):
        top, given = 2**m - 1, f"e1m{m}"
        got = expect_returns(lambda m=m: minifloat_values(1, m), rule, given=given, hint=hint)
        expect_equal(got, torch.arange(-top, top + 1).float() * 2.0 ** (1 - m), rule, given=given, hint=hint)
    bad = (*((e, m) for e in (0, -1, 9, 11) for m in (1, 5, 10)), *((e, m) for e in (1, 5, 8) for m in (0, -1, 11, 24)))
    for e, m in (*bad, (10, 4), (1, 12), (2, 11), (-3, -3), (0, 0), (9, 11)):
        expect_raises(
            ValueError, lambda e=e, m=m: minifloat_values(e, m), refused, given=f"exponent_bits={e}, mantissa_bits={m}"
        )
    ### END HIDDEN TESTS

# %% [markdown]
# ## Explore: two number lines
#
# The demo shows *your* values in blue. Below, in vermillion, is **fixed point** of the same width: whole numbers times
# one power of two, so equally spaced. (You write it in exercise 6. "Fixed 5.3" has 5 bits before the point, the sign
# among them, and 3 behind it.) The third axis shows how far it is to the next value.
#
# 1. On which scale do floats look evenly spread, on which does fixed point?
# 2. Move one bit from the mantissa to the exponent. What do you gain, what do you pay? How do the stairs change?
# 3. Zoom in. What do the subnormals look like on the linear axis? Why is the first step of the stairs so wide?
# 4. Move the point (`fraction bits`): what does fixed point trade for what?
#
# <details><summary>Answers</summary>
#
# 1. Floats on the logarithmic scale, fixed point on the linear one.
# 2. Range, to both sides; the steps in each binade become twice as wide. There are more stairs, and each is higher.
# 3. Evenly spaced, with the step of the first normal binade. So the first step of the stairs spans the subnormal values
#    as well as that binade.
# 4. Range for precision: one bit more behind the point halves the step and the range.
#
# </details>

# %% tags=["explore"]
number_line.number_line_demo(minifloat_values)

# %% [markdown]
# Without sliders: e3m4 on the left, e5m2 on the right, each beside the fixed point of 8 bits that just covers its
# range. For e5m2 that one counts in steps of 512.

# %% tags=["explore"]
number_line.number_line_still(((3, 4), (5, 2)), values=minifloat_values)

# %% [markdown]
# ## Exercise 5: round a tensor to a minifloat
#
# There is no need to search a table for each of a million weights. Around $x$ the values of the format are evenly
# spaced, and you know the step:
#
# 1. **Binade.** Find the power of two $2^k \le |x| < 2^{k+1}$. Below the smallest normal value the spacing stays what
#    it is, so $k$ is at least $1 - \text{bias}$. Above the largest power of the format, $k$ is that power. (With one
#    exponent bit there are only subnormal values: $k$ is always $1 - \text{bias} = 1$.)
# 2. **Step.** In this binade neighbours are $2^{k-m}$ apart.
# 3. **Round** $x / \text{step}$ to a whole number, ties to even (`torch.round` does this), and multiply by the step
#    again. Both scalings are exact, as the step is a power of two: only the rounding rounds.
# 4. **Saturate.** What is now beyond the largest value becomes the largest value, with its sign. So does infinity.
#
# By hand, in e3m4, where the smallest normal value is $2^{-2}$ and the largest value is 15.5:
#
# | $x$ | $k$ | step | $x$ / step | rounded | result |
# |---|---|---|---|---|---|
# | 3.3 | 1 | 1/8 | 26.4 | 26 | 3.25 |
# | −2.0625 | 1 | 1/8 | −16.5 | −16 (tie: even) | −2.0 |
# | 3.97 | 1 | 1/8 | 31.76 | 32 | 4.0 |
# | 0.1 | −2 (not −4) | 1/64 | 6.4 | 6 | 0.09375 |
# | 100 | 3 | 1/2 | 200 | 200 | 15.5 |
#
# Look at 3.97: rounding carries it into the next binade, and nothing special has to be done. An implementation that
# keeps the mantissa within $2^m - 1$ would answer 3.875.
#
# **No loop over elements.** `torch.frexp(x)` gives mantissa and exponent of a whole tensor (mind that its mantissa is
# in $[0.5, 1)$); `2.0 ** k` works for a tensor `k` (`2 ** k` gives 0 where whole numbers `k` are negative). What does
# each of them make of $x = 0$? Whatever takes half as long as a Python loop that only calls `math.frexp`
# is too slow for large tensors: a few passes over the tensor are not, one for each binade is.
#
# <details><summary>For the curious: slips in the ECE 209 report</summary>
#
# The ECE 209 report takes the logarithm of its input as it is (its algorithm 1, line 4). For a negative number that is
# NaN, so take the size first. (Its line 7 also multiplies *the exponent* by each mantissa; meant is the power,
# $2^k (1 + i/2^m)$. And its exponent has no lower end, so there are no subnormals.)
#
# </details>


# %% nbgrader={"grade_id": "round_to_minifloat", "solution": true}
def round_to_minifloat(x, exponent_bits, mantissa_bits):
    """Rounds each element to the nearest value of an IEEE-style minifloat.

    A tie goes to the neighbour with an even mantissa. What is beyond the largest finite value saturates, infinities
    too. NaN stays NaN. A result of zero may have either sign.

    Args:
        x: float32 tensor of any shape, without gradient. It is not changed. There may be 100 million elements: no
            Python loop over them, nor what takes half as long as one that only calls math.frexp.
        exponent_bits: whole number from 1 to 8. With 1, there are only subnormal values.
        mantissa_bits: whole number from 1 to 10.

    Returns:
        New float32 tensor of x's shape, also where torch's default dtype is float64.

    Raises:
        ValueError: if one of the numbers of bits is out of its range, also if x is empty.
    """
    ### BEGIN SOLUTION
    if not (1 <= exponent_bits <= 8 and 1 <= mantissa_bits <= 10):
        raise ValueError(f"no minifloat here has {exponent_bits} exponent and {mantissa_bits} mantissa bits")
    bias = 2 ** (exponent_bits - 1) - 1
    lowest = 1 - bias
    highest = max(2**exponent_bits - 2, 1) - bias
    leading = 1 if exponent_bits > 1 else 0
    largest = (leading + 1 - 2.0**-mantissa_bits) * 2.0**highest

    wide = x.double()  # 2^(k - m) may be subnormal in float32
    _, exponent = torch.frexp(wide)
    k = (exponent - 1).clamp(lowest, highest)
    step = 2.0 ** (k - mantissa_bits).double()
    return (torch.round(wide / step) * step).clamp(-largest, largest).float()
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_round_to_minifloat", "grade": true, "points": 4}
### BEGIN HIDDEN TESTS
# include: minifloat_table.py
### END HIDDEN TESTS
def expect_rounded(x, e, m, expected, rule, hint):
    """Values, dtype and shape; and x is not changed."""
    given, before = f"e{e}m{m}", state_of(x)
    y = expect_returns(lambda: round_to_minifloat(x, e, m), rule, given=given, hint=hint)
    expect_unchanged(before, state_of(x), "x itself is not changed", hint="avoid +=, /= and clamp_")
    rule_type = "the result is a float32 tensor of x's shape"
    expect_type(y, torch.float32, rule_type, shape=x.shape, given=given, hint="a conversion at the end")
    expect_equal(y, torch.as_tensor(expected).float(), f"{rule} ({given})", given=x, hint=hint)


with check("round_to_minifloat"):
    nearest = "every element goes to the nearest value of the format"
    hint_nearest = "round x / step with the step of x's own binade, whatever the sign of x"
    ties = "a tie goes to the neighbour with an even mantissa"
    subnormal = "below the smallest normal value the step stays 2^(1 - bias - m)"
    hint_subnormal = "limit the exponent from below before you compute the step; log2(0) is -inf, and 0 / 0 is NaN"
    carries = "rounding up may carry into the next power of two"
    saturates = "what is beyond the largest value saturates at it"
    for e, m, rule, hint, inputs, expected in (
        (3, 4, nearest, hint_nearest, [3.3, -3.3, 0.3, 1.0, 5.7], [3.25, -3.25, 0.296875, 1.0, 5.75]),
        (4, 3, nearest, hint_nearest, [3.3, -19.5, 0.3, 101.0], [3.25, -20.0, 0.3125, 104.0]),
        (5, 2, nearest, hint_nearest, [3.3, -5e3, 0.3, 1e-3], [3.5, -5120.0, 0.3125, 0.0009765625]),
        (2, 10, nearest, hint_nearest, [1.0004, -1.5007], [1.0, -1.5009765625]),
        (3, 4, ties, "torch.round does it", [2.0625, -2.0625, 2.1875, 4.125, 4.375], [2.0, -2.0, 2.25, 4.0, 4.5]),
        (5, 2, ties, "torch.round does it", [1.125, -1.375], [1.0, -1.5]),
        (3, 4, subnormal, hint_subnormal, [0.1, -0.1, 0.01, 0.005, 0.24], [0.09375, -0.09375, 0.015625, 0.0, 0.234375]),
        (5, 2, subnormal, hint_subnormal, [1e-5, -3e-5, 1e-6, 1e-40], [2.0**-16, -(2.0**-15), 0.0, 0.0]),
        (5, 2, subnormal, hint_subnormal, [2.0**-17, -3 * 2.0**-17], [0.0, -(2.0**-15)]),
        (3, 4, subnormal, hint_subnormal, [0.0, -0.0], [0.0, 0.0]),
        (3, 4, carries, "do not limit the mantissa to 2^m - 1", [3.97, -0.999, 7.9, 0.249], [4.0, -1.0, 8.0, 0.25]),
        (3, 4, saturates, "on both sides", [15.7, 15.8, 100.0, -1e30, -15.8], [15.5, 15.5, 15.5, -15.5, -15.5]),
        (4, 3, saturates, "on both sides", [245.0, 300.0, -1e9], [240.0, 240.0, -240.0]),
        (5, 2, saturates, "on both sides", [7e4, -3e38], [57344.0, -57344.0]),
        (2, 1, saturates, "on both sides", [3.4, 4.0, -9.0], [3.0, 3.0, -3.0]),
        (5, 7, nearest, "round once: float16 rounds by itself", [1 + 2.0**-8 + 2.0**-20], [1 + 2.0**-7]),
        (4, 3, nearest, "round once", [1.0625 + 2.0**-20, 2.125 - 2.0**-20, -1.1875 - 2.0**-20], [1.125, 2.0, -1.25]),
        (
            8,
            3,
            nearest,
            "round once: bfloat16 rounds by itself",
            [1.0625 + 2.0**-20, -1.1875 + 2.0**-20],
            [1.125, -1.125],
        ),
        (5, 1, nearest, "2^-23 beside a tie is no tie", [1.25 + 2.0**-23, -1.75 + 2.0**-23], [1.5, -1.5]),
    ):
        expect_rounded(torch.tensor(inputs), e, m, expected, rule, hint)
    ### BEGIN HIDDEN TESTS
    g = generator()
    splits = [(e, m) for e in range(2, 8) for m in range(1, 8) if e + m <= 8]
    splits += [(3, 10), (5, 10), (4, 9), (8, 2), (8, 7), (2, 8)]
    for e, m in splits:
        table = torch.from_numpy(positive_values(e, m))
        smallest, largest, normal = float(table[1]), float(table[-1]), 2.0 ** (2 - 2 ** (e - 1))
        low, high = math.log2(smallest) - 1, math.log2(largest)
        sizes = 2.0 ** (torch.rand(40, 25, generator=g, dtype=torch.float64) * (high - low) + low)
        x = (sizes * (1 - 2 * torch.randint(0, 2, sizes.shape, generator=g))).float()
        part = x.abs() >= normal
        expect_rounded(x[part], e, m, by_table(x[part], e, m), nearest, hint_nearest)
        expect_rounded(x[~part], e, m, by_table(x[~part], e, m), subnormal, hint_subnormal)
        expect_rounded(x, e, m, by_table(x, e, m), nearest, hint_nearest)
        x = torch.cat([table, -table]).float()
        expect_rounded(x, e, m, x, nearest, "a value of the format stays what it is, also a subnormal one")
        middle = (table[:-1] + table[1:]) / 2
        x = torch.cat([middle, -middle]).float()
        expect_rounded(x, e, m, by_table(x, e, m), ties, "not away from zero")
        for toward in (0.0, math.inf):
            x = torch.nextafter(middle.float(), torch.tensor(toward))
            expect_rounded(x, e, m, by_table(x, e, m), nearest, "just beside a tie")
        x = torch.tensor([1.001, 1.5, 2.0, 1e4]).double().mul(largest).clamp(max=3.4e38).float()
        x = torch.cat([x, -x])
        expect_rounded(x, e, m, by_table(x, e, m), saturates, "on both sides")
    ### END HIDDEN TESTS

# %% [markdown]
# The second check tries unusual inputs, and takes the time of large ones.


# %% nbgrader={"grade_id": "check_round_to_minifloat_edges", "grade": true, "points": 2}
@probe
def rounded_with_default(dtype, x, e, m):
    """What becomes of x when torch's default dtype is another one."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return round_to_minifloat(x, e, m)
    finally:
        torch.set_default_dtype(before)


@probe
def rounded_expanded(x, shape, e, m):
    """What becomes of x expanded to a shape, so that its elements share memory."""
    return round_to_minifloat(x.expand(shape), e, m)


def expect_minifloat(x, e, m, expected, rule, hint, given=None):
    """Values, dtype and shape; and x is not changed."""
    before, given = state_of(x), x if given is None else given
    y = expect_returns(lambda: round_to_minifloat(x, e, m), rule, given=given, hint=f"this was e{e}m{m}: {hint}")
    expect_unchanged(before, state_of(x), "x itself is not changed", hint="avoid +=, /= and clamp_")
    expect_equal(y, expected, rule, given=given, hint=f"this was e{e}m{m}: {hint}")
    expect_type(y, torch.float32, "the result is a float32 tensor of x's shape", given=f"e{e}m{m}", hint="at the end")


with check("round_to_minifloat"):
    infinities = "infinities saturate"
    x = torch.tensor([[math.inf, -math.inf], [math.nan, 1.0]])
    y = round_to_minifloat(x, 3, 4)
    hint = "clamp does it, if nothing became NaN before: inf / inf"
    expect_equal(y[0], [15.5, -15.5], infinities, given=x[0], hint=hint)
    stays = "NaN stays NaN, and harms no other element"
    expect_equal(y[1], [math.nan, 1.0], stays, given=x[1], hint="clamp keeps NaN; max and min of Python do not")
    places = torch.arange(300_007)
    values = (4.25 + 0.25 * (places % 14)) * (1 - 2 * (places % 2))  # values of e3m4, a step of 0.25 apart
    x = values + 0.12 * torch.sin(places)
    for e, shape in ((3, (-1, 1)), (1, (1, -1)), (7, (-1,))):  # rows and columns of one element
        expect_no_loop(
            lambda x, e=e: round_to_minifloat(x, e, 4), lambda n, s=shape: torch.linspace(-20, 20, n).reshape(s)
        )
    every = "every element goes to the nearest value of the format"
    expect_minifloat(x, 3, 4, values, every, "of 300,007 elements the last one, too")
    shapes = "x may have any shape, an empty one too, and lie in memory in any order"
    for shape in ((), (0,), (3, 0, 2), (1,), (2, 1, 2), (2, 1, 2, 3, 1)):
        x, given = torch.full(shape, 3.3), f"shape {shape}"
        expect_minifloat(x, 3, 4, torch.full(shape, 3.25), shapes, "no x.max(), and the shape stays", given)
        expect_minifloat(x * math.nan, 3, 4, x * math.nan, stays, "also alone", f"NaN, {given}")
    x = torch.tensor([[3.3, 0.1], [-100.0, 3.97]]).T
    expected = [[3.25, -15.5], [0.09375, 4.0]]
    expect_minifloat(x, 3, 4, expected, shapes, ".view refuses it; the shape stays", "a transposed tensor")
    for shape in ((4,), (3, 2)):
        got, given = rounded_expanded(torch.tensor(3.3), shape, 3, 4), f"one element of 3.3 expanded to {shape}"
        expect_equal(
            got, torch.full(shape, 3.25), shapes, given=given, hint="make the result anew, not like x in memory"
        )
    patterns = torch.tensor([2**31 - 1, -1, 2**31 - 2**23 + 1, -(2**23) + 1, 2**31 - 2**22, -(2**22)])
    x, given = patterns.int().view(torch.float32), "NaNs of all kinds: other bits of the fraction, either sign"
    for e, m in ((3, 4), (7, 10), (1, 1)):
        expect_minifloat(x, e, m, [math.nan] * 6, stays, "x.isnan() knows them all", given)
    lone = "with one exponent bit all values are subnormal, in steps of 2^(1 - m), up to 2 - 2^(1 - m)"
    wide = "8 exponent bits reach as far as float32 itself, down to its own subnormal numbers"
    tiny = 2.0**-133
    for e, m, rule, hint, inputs, expected in (
        (1, 2, lone, "bias 0, step 1/2", [0.2, 0.25, 0.75, -0.75, 1.3, 9.0, -2.0], [0, 0, 1.0, -1.0, 1.5, 1.5, -1.5]),
        (1, 1, lone, "bias 0, step 1", [0.4, 0.5, 0.7, -1.9, 0.0, math.inf], [0, 0, 1, -1, 0, 1]),
        (1, 10, lone, "bias 0, step 2^-9", [0.3, -1.999, 5.0], [154 / 512, -1023 / 512, 1023 / 512]),
        (1, 4, stays, "with one exponent bit, too", [math.nan, 0.3, -math.inf], [math.nan, 0.25, -1.875]),
        (
            8,
            7,
            wide,
            "steps as small as 2^-133: float64 holds them",
            [1e-40, -2.6 * tiny, tiny / 2, 0.0, -0.0],
            [tiny, -3 * tiny, 0, 0, 0],
        ),
        (8, 7, wide, "saturation near 2^128", [3.4e38, -3.4e38], [255 * 2.0**120, -255 * 2.0**120]),
        (8, 10, wide, "steps as small as 2^-136: float64 holds them", [1e-40, 1.0], [9 * 2.0**-136, 1.0]),
        (8, 1, wide, "no other rules than for small formats", [3.3, 2.0**-127, 1e-39], [3.0, 2.0**-127, 0.0]),
        (8, 7, infinities, "at the largest finite value", [math.inf, -math.inf], [255 * 2.0**120, -255 * 2.0**120]),
        (5, 10, infinities, "at the largest finite value", [65519.0, 65520.0, -math.inf], [65504.0, 65504.0, -65504.0]),
        (8, 3, stays, "in every format", [math.nan, 1.0, -math.inf], [math.nan, 1.0, -1.875 * 2.0**127]),
    ):
        expect_minifloat(torch.tensor(inputs), e, m, torch.tensor(expected), rule, hint)
    own = "the result is a tensor of its own, for the numbers that x holds now"
    sets = [(torch.tensor(values), 3, 4) for values in ([3.3, 0.1], [3.25, 2.0], [-100.0, 3.97])]
    expected = [torch.tensor(values) for values in ([3.25, 0.09375], [3.25, 2.0], [-15.5, 4.0])]
    for got in reused(round_to_minifloat, sets):
        given = "[3.3, 0.1], [3.25, 2], [-100, 3.97], written into the same tensor x one after the other"
        expect_equal(got, expected, own, given=given, hint="nothing is kept, and the result is never x itself")
    rule = "the result is a float32 tensor, also where torch's default dtype is float64"
    x = torch.tensor([3.3, -0.1, 100.0])
    for dtype, e, expected in ((torch.float64, 3, [3.25, -0.09375, 15.5]), (torch.float64, 1, [1.875, -0.125, 1.875])):
        got = rounded_with_default(dtype, x, e, 4)
        expect_type(got, torch.float32, rule, given=f"e{e}m4, default dtype {dtype}", hint="a conversion at the end")
        expect_equal(got, expected, rule, given=x, hint=f"this was e{e}m4, with torch's default dtype {dtype}")
    refused = "a number of bits out of its range is refused with a ValueError"
    for e, m in ((0, 3), (9, 3), (4, 0), (4, 11), (-1, 4), (4, -1), (1, 0), (1, 11), (8, 11), (8, 0), (0, 10), (9, 1)):
        for values in ([1.0, 2.0], [], [math.nan], [0.0]):
            expect_raises(
                ValueError,
                lambda v=values, e=e, m=m: round_to_minifloat(torch.tensor(v), e, m),
                refused,
                given=f"x = {values}, exponent_bits={e}, mantissa_bits={m}",
                hint="1 to 8 exponent bits, 1 to 10 mantissa bits, whatever x holds",
            )
    ### BEGIN HIDDEN TESTS
    from course_utils.numerics import FloatFormat

    g = generator()
    for e, m in ((e, m) for e in range(1, 9) for m in range(1, 11)):  # numbers of every size, in every format
        top = float(FloatFormat(e, m).values()[-1])
        x = torch.randn(7, 31, generator=g) * 2.0 ** torch.randint(-150, 128, (7, 31), generator=g)
        scale = 2.0 ** torch.randint(-10, 3, (10, 31), generator=g)
        near = (torch.rand(10, 31, generator=g) * 2 - 1) * (
            scale * min(top, 2.0**8) + scale * 2.0 ** (2 - 2 ** (e - 1))
        )
        x = torch.cat([x, near, torch.tensor([0.0, -0.0, math.inf, -math.inf, math.nan] * 6 + [top]).reshape(1, 31)])
        x = [x, x.T, x[:, ::3], x.flatten()][(e + m) % 4]
        expect_minifloat(x, e, m, FloatFormat(e, m).quantize(x.contiguous()), every, "of any size")
    for shape in ((), (0,), (3, 0, 2), (2, 3, 4, 5), (1,), (3, 1, 1), (2, 1, 2, 1, 2, 1)):
        x = torch.randn(shape, generator=g) * 4
        expect_minifloat(x, 3, 4, FloatFormat(3, 4).quantize(x), shapes, "no x.max()", f"shape {shape}")
    x = torch.randn(1_000_003, generator=g) * 4
    expect_minifloat(x, 4, 3, FloatFormat(4, 3).quantize(x), every, "of a million elements, too", "1,000,003 elements")
    x = torch.cat([torch.linspace(-3, 3, 49), torch.tensor([math.inf, -math.inf, math.nan])])
    for m in (1, 2, 3, 5, 10):
        top, step = 2 - 2.0 ** (1 - m), 2.0 ** (1 - m)
        expected = (torch.round(x.double() / step) * step).clamp(-top, top).float()
        expect_minifloat(x, 1, m, expected, lone, "bias 0, step 2^(1 - m)")
    for e, m, top in ((8, 7, (2 - 2.0**-7) * 2.0**127), (5, 10, 65504.0), (8, 10, (2 - 2.0**-10) * 2.0**127)):
        x = torch.tensor([math.inf, -math.inf, 3.4028234e38, -3.4028234e38])
        expect_minifloat(x, e, m, torch.tensor([top, -top] * 2), infinities, "at the largest finite value")
    for m in (2, 7):
        table = FloatFormat(8, m).values()[-(255 * 2**m - 1) :].double()  # from 0 upwards
        x = torch.cat([table, (table[1:] + table[:-1]) / 2, table[1:] * 0.7, table[1:] * 1.3]).clamp(max=3.4e38).float()
        hint = "steps as small as 2^-133 and values near 2^128: compute in float64"
        expect_minifloat(x, 8, m, FloatFormat(8, m).quantize(x), wide, hint)
    for e, m in ((3, 4), (1, 5), (8, 7), (5, 10)):
        xs = [torch.randn(5, 6, generator=g) * 2, FloatFormat(e, m).quantize(torch.randn(5, 6, generator=g))]
        xs.append(torch.randn(5, 6, generator=g))
        for got in reused(round_to_minifloat, [(x, e, m) for x in xs]):
            expected = [FloatFormat(e, m).quantize(x) for x in xs]
            expect_equal(
                got, expected, own, given=f"e{e}m{m}, three sets of numbers in one tensor", hint="keep nothing"
            )
        got = rounded_with_default(torch.float64, xs[0], e, m)
        expect_type(got, torch.float32, rule, given=f"e{e}m{m}, default dtype float64")
        expect_equal(got, FloatFormat(e, m).quantize(xs[0]), rule, given=xs[0], hint=f"this was e{e}m{m}")
    for e, m in ((0, 1), (9, 10), (1, 0), (8, 11), (12, 3), (3, -4), (0, 0), (16, 10), (1, 12), (-8, 10)):
        for x in (torch.ones(2), torch.zeros(2, 0), torch.full((3,), math.inf), torch.tensor(0.0)):
            expect_raises(ValueError, lambda x=x, e=e, m=m: round_to_minifloat(x, e, m), refused, given=f"e={e}, m={m}")
    ### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 6: fixed point
#
# The plain alternative: a whole number, and an agreement about where the point is. With $i$ bits before the point (the
# sign among them) and $f$ bits behind it, a **code** $q$ means $q / 2^f$, and codes run from $-2^{i+f-1}$ to
# $2^{i+f-1} - 1$. (The lecture's C++ class is called `Fixed<16, 16>`; digital signal processing says Q format.)
#
# By hand, for 16 and 16:
#
# - 1.5 becomes $1.5 \cdot 65536 = 98304$;
# - 3.14159 becomes $\operatorname{round}(205887.24\ldots) = 205887$, which means $3.141586\ldots$;
# - 40000 does not fit (the range ends at 32768) and saturates at the largest code, $2^{31} - 1$.
#
# A trap: float32 has 24 significant bits and a code here may have 32. The number $2^{31} - 1$ does not exist in
# float32; it becomes $2^{31}$, one more than the largest code. Compute in float64.


# %% nbgrader={"grade_id": "to_fixed", "solution": true}
def to_fixed(x, integer_bits, fraction_bits):
    """Maps real numbers to fixed-point codes: whole numbers q that mean q / 2^fraction_bits.

    Rounds to nearest, ties to even. What is out of range saturates at the lowest or largest code, infinities too.

    Args:
        x: float32 or float64 tensor of any shape, without gradient. It is not changed.
        integer_bits: bits before the point, the sign bit among them, at least 1.
        fraction_bits: bits behind the point, at least 0. Together at least 2 and at most 32 bits.

    Returns:
        int64 tensor of x's shape, from -2^(n-1) to 2^(n-1) - 1 with n = integer_bits + fraction_bits.

    Raises:
        ValueError: if the numbers of bits are out of their ranges, also if x is empty; or if x contains NaN.
    """
    ### BEGIN SOLUTION
    bits = integer_bits + fraction_bits
    if integer_bits < 1 or fraction_bits < 0 or not 2 <= bits <= 32:
        raise ValueError(f"{integer_bits} and {fraction_bits} bits are not supported")
    if x.isnan().any():
        raise ValueError("x contains NaN, for which there is no code")
    scaled = x.double() * 2.0**fraction_bits
    return torch.round(scaled).clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1).long()
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_to_fixed", "grade": true, "points": 2}
def expect_codes(x, i, f, expected, rule, hint):
    """Codes, dtype and shape; and x is not changed."""
    facts, before = f"fixed {i}.{f}, {x.dtype}", state_of(x)
    q = expect_returns(lambda: to_fixed(x, i, f), rule, given=facts, hint=hint)
    expect_unchanged(before, state_of(x), "x itself is not changed", hint="avoid methods that end in _")
    expect_type(
        q, torch.int64, "the result is an int64 tensor of x's shape", shape=x.shape, given=facts, hint="at the end"
    )
    expect_equal(q, expected, f"{rule} (fixed {i}.{f})", given=x, hint=hint)


with check("to_fixed"):
    nearest_code = "a code is round(x * 2^fraction_bits)"
    hint_nearest = "round to nearest; do not cut off"
    even = "a tie goes to the even code"
    ends = "what is out of range saturates at -2^(n-1) or 2^(n-1) - 1, with n = integer_bits + fraction_bits"
    hint_ends = "integer_bits counts the sign; two's complement has one more code below zero than above"
    for i, f, rule, hint, inputs, expected in (
        (16, 16, nearest_code, hint_nearest, [1.5, -0.75, 3.14159, 0.1, -0.1], [98304, -49152, 205887, 6554, -6554]),
        (8, 0, nearest_code, "one rounding, at once", [1.4, -2.7, 99.6, 1.47, -2.53], [1, -3, 100, 1, -3]),
        (5, 3, nearest_code, hint_nearest, [-3.2, 0.3, 15.8], [-26, 2, 126]),
        (4, 2, even, "torch.round does it", [0.125, 0.375, -0.125, -0.375, 1.625], [0, 2, 0, -2, 6]),
        (8, 0, even, "torch.round does it", [0.5, 1.5, -0.5, -1.5, 2.5, -3.5, 126.5], [0, 2, 0, -2, 2, -4, 126]),
        (1, 7, even, "at the ends, too", [126.5 / 128, -126.5 / 128], [126, -126]),
        (4, 4, ends, hint_ends, [7.9, 8.0, 100.0, -8.0, -100.0], [126, 127, 127, -128, -128]),
        (1, 7, ends, hint_ends, [0.999, 1.0, -1.0, -3.0], [127, 127, -128, -128]),
        (1, 1, ends, hint_ends, [0.4, 3.0, -3.0], [1, 1, -2]),
        (8, 0, ends, hint_ends, [127.4, 300.0, -128.4, -300.0], [127, 127, -128, -128]),
        (8, 0, ends, hint_ends, [127.5, 128.0, -128.5, -129.0, math.inf, -math.inf], [127, 127, -128, -128, 127, -128]),
        (5, 3, nearest_code, "0 has the code 0", [0.0, -0.0, 1e-40, -1e-40], [0, 0, 0, 0]),
    ):
        for dtype in (torch.float32, torch.float64):
            expect_codes(torch.tensor(inputs, dtype=dtype), i, f, expected, rule, hint)
    exact = "the arithmetic is that of float64: no digit of x is lost before rounding"
    hint = "float32 has 24 significant bits, a code up to 32"
    expect_codes(torch.tensor([0.1, -0.7], dtype=torch.float64), 1, 31, [214748365, -1503238554], exact, hint)
    expect_codes(torch.tensor([123456789.0], dtype=torch.float64), 32, 0, [123456789], exact, hint)
    x = torch.tensor([2.5 + 2.0**-40, 2.5 - 2.0**-40, -1.5 + 2.0**-45, 0.5 + 2.0**-50], dtype=torch.float64)
    for f in (0, 4, 20):
        hint = "round once, to whole codes: what is rounded to float32 or to more bits first is rounded twice"
        expect_codes(x / 2**f, 8, f, [3, 2, -1, 1], exact, hint)
    expect_codes(torch.tensor([1e300, -1e300, 5e-324], dtype=torch.float64), 8, 8, [32767, -32768, 0], ends, hint_ends)
    places = torch.arange(200_003)
    codes = 37 * places % 4001 - 2000
    x = (codes + 0.4 * torch.sin(places.double())) / 64
    hint = "of 200,003 elements the last one, too"
    expect_codes(x.float(), 8, 6, codes, nearest_code, hint)
    expect_codes(x[:9_001], 8, 6, codes[:9_001], nearest_code, hint)
    ### BEGIN HIDDEN TESTS
    g = generator()
    all_bits = [(i, n - i) for n in range(2, 33) for i in range(1, n + 1)]
    for i, f in [all_bits[k] for k in torch.randint(0, len(all_bits), (40,), generator=g)] + [(1, 31), (32, 0), (2, 0)]:
        n = i + f
        lowest, largest = -(2 ** (n - 1)), 2 ** (n - 1) - 1
        x = torch.randn(60, generator=g, dtype=torch.float64)
        x[:20] *= 2.0 ** (i - 1) * 0.7
        x[20:40] *= 2.0**-f * 3
        x[40:] *= 2.0 ** torch.randint(-f - 60, i + 60, (20,), generator=g)
        whole = torch.randint(lowest, largest, (30,), generator=g).double() * 2.0 ** -torch.randint(
            0, n, (30,), generator=g
        )
        tie = (whole.floor() + 0.5) * 2.0**-f
        beside = tie * (1 + torch.tensor([1.0, -1.0] * 15).double() * 2.0 ** -torch.randint(30, 53, (30,), generator=g))
        ends = (torch.tensor([lowest, largest]).double() + torch.tensor([[-0.5], [0.0], [0.5]])).flatten() * 2.0**-f
        x = torch.cat([x, tie, beside, ends, torch.tensor([math.inf, -math.inf, 1e300, -0.0])])
        for x in (x, x.float()):  # noqa: B020  the same numbers in both dtypes
            exact = [v if math.isinf(v) else round(Fraction(v) * 2**f) for v in x.tolist()]  # ties to even, exactly
            codes = torch.tensor([int(min(max(v, lowest), largest)) for v in exact])
            expect_codes(x, i, f, codes, "a code is the nearest whole number, or one of the ends", "round once")
    ### END HIDDEN TESTS

# %% nbgrader={"grade_id": "check_to_fixed_edges", "grade": true, "points": 1}
with check("to_fixed"):
    rule = "with 32 bits the largest code is 2^31 - 1, not 2^31"
    hint = "float32 has no 2^31 - 1: convert x to float64 before you scale and clamp"
    for i, f in ((16, 16), (1, 31), (32, 0)):
        x = torch.tensor([1.25, 1.0, -1.0, -1.25]) * 2.0 ** (i - 1)
        got = expect_returns(lambda x=x, i=i, f=f: to_fixed(x, i, f), rule, given=f"fixed {i}.{f}", hint=hint)
        expect_equal(got, [2**31 - 1, 2**31 - 1, -(2**31), -(2**31)], rule, given=x, hint=hint)
    nan = "NaN is refused with a ValueError"
    for values in ([1.0, math.nan], [[math.nan], [0.0]], [1.0, 2.0, 3.0, math.nan], math.nan, [math.inf, math.nan]):
        for dtype in (torch.float32, torch.float64):
            x, hint = torch.tensor(values, dtype=dtype), "it has no code, and no comparison finds it"
            expect_raises(ValueError, lambda x=x: to_fixed(x, 8, 8), nan, given=f"{values}, {dtype}", hint=hint)
    x = torch.zeros(200_003)
    x[-1] = math.nan
    expect_raises(ValueError, lambda: to_fixed(x, 8, 8), nan, given="200,002 zeros and NaN", hint="look at all of x")
    infinite = "infinities and very large numbers saturate"
    hint = "saturate as long as the numbers are floats: an infinity has no whole number"
    infinite_x = torch.tensor([math.inf, -math.inf, 1e30, -1e30])
    for i, f in ((16, 16), (5, 3), (4, 3), (1, 31), (32, 0)):
        for x in (infinite_x, infinite_x.double()):
            before = state_of(x)
            got = expect_returns(lambda x=x, i=i, f=f: to_fixed(x, i, f), infinite, given=x, hint=hint)
            expected = [2 ** (i + f - 1) - 1, -(2 ** (i + f - 1))] * 2
            expect_equal(got, expected, infinite, given=f"{x.tolist()}, {x.dtype}, fixed {i}.{f}", hint=hint)
            expect_unchanged(before, state_of(x), "x itself is not changed", hint="nor are its infinities replaced")
    for dtype in (torch.float32, torch.float64):
        sets = [(torch.tensor(values, dtype=dtype), 4, 4) for values in ([0.5, 1.0], [2.0, -8.0], [-1.0, 9.0])]
        for got in reused(to_fixed, sets):
            rule = "the codes are those of the numbers that x holds now"
            given = f"[0.5, 1], [2, -8], [-1, 9], written into the same {dtype} tensor one after the other"
            expect_equal(
                got,
                [torch.tensor(c) for c in ([8, 16], [32, -128], [-16, 127])],
                rule,
                given=given,
                hint="keep nothing",
            )
    shapes = "x may have any shape, an empty one too, and lie in memory in any order"
    for shape in ((), (0, 3), (2, 1, 2)):
        got = expect_returns(lambda s=shape: to_fixed(torch.full(s, 0.75), 4, 4), shapes, given=f"shape {shape}")
        expect_type(got, torch.int64, "the result is an int64 tensor of x's shape", shape=shape, given=f"shape {shape}")
        expect_equal(got, torch.full(shape, 12), shapes, given=f"shape {shape}", hint="the shape stays")
    x = torch.tensor([[0.5, -1.0], [2.0, 0.25]]).T
    got = expect_returns(lambda: to_fixed(x, 4, 2), shapes, given="a transposed tensor", hint=".view refuses it")
    expect_equal(got, [[2, 8], [-4, 1]], shapes, given="a transposed tensor", hint="the shape stays")
    refused = "numbers of bits out of their ranges are refused with a ValueError"
    for i, f in ((0, 8), (-1, 8), (8, -1), (1, 0), (17, 16), (33, 0), (0, 0), (0, 32), (33, -1), (1, 32), (64, 0)):
        for values in ([0.5], [], [math.inf]):
            expect_raises(
                ValueError,
                lambda v=values, i=i, f=f: to_fixed(torch.tensor(v), i, f),
                refused,
                given=f"x = {values}, integer_bits={i}, fraction_bits={f}",
                hint="integer_bits >= 1, fraction_bits >= 0, 2 to 32 together, whatever x holds",
            )
    for i, f in ((1, 1), (2, 0), *((i, 32 - i) for i in range(1, 33))):
        rule = "2 to 32 bits together, 1 of them before the point, are accepted"
        expect_returns(lambda i=i, f=f: to_fixed(torch.tensor([0.5]), i, f), rule, given=f"{i} and {f}", hint="ends")
    ### BEGIN HIDDEN TESTS
    g = generator()
    x = torch.randn(5, 6, generator=g)
    for part in (x.T, x[:, ::2]):
        got = expect_returns(lambda part=part: to_fixed(part, 4, 6), shapes, given="part of a tensor")
        expect_equal(got, torch.round(part * 64).clamp(-512, 511).long(), shapes, given="part of a tensor")
    x[4, 5] = math.nan
    for bad in (x, x.double(), torch.tensor(math.nan)):
        expect_raises(ValueError, lambda bad=bad: to_fixed(bad, 4, 6), nan, given=f"NaN, {bad.dtype}")
    for i, f in ((0, 2), (-4, 20), (20, -4), (0, 1), (1, 32), (16, 17), (40, -10), (2, -1), (32, 1), (100, 0), (3, -1)):
        for x in (torch.tensor([0.5]), torch.zeros(2, 0), torch.tensor(0.0).double(), torch.zeros(0).double()):
            expect_raises(ValueError, lambda x=x, i=i, f=f: to_fixed(x, i, f), refused, given=f"{i} and {f}")
    for dtype in (torch.float32, torch.float64):
        sets = [(torch.randn(4, 5, generator=g).to(dtype), 4, 6) for _ in range(3)]
        for got in reused(to_fixed, sets):
            wanted = [torch.round(x.double() * 64).clamp(-512, 511).long() for x, *_ in sets]
            expect_equal(got, wanted, "the codes are those of the numbers that x holds now", given="one tensor")
    ### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 7: multiply in fixed point
#
# Adding two codes with the same point is adding whole numbers. Multiplying:
#
# $$
# \frac{a}{2^f} \cdot \frac{b}{2^f} = \frac{a \cdot b}{2^{2f}}
# \qquad\Rightarrow\qquad
# q = \frac{a \cdot b}{2^{f}} .
# $$
#
# The product has the point in the wrong place, $f$ bits too far left, so shift it back. A chip has no division for
# that, just the shift `>>`, which drops the lowest $f$ bits: it rounds *down*. To round to nearest, add half of what
# is dropped first:
#
# $$
# q = (a \cdot b + 2^{f-1}) \mathbin{>>} f .
# $$
#
# A tie then goes *up*, toward $+\infty$, also for negative numbers. That is not "ties to even", but it costs only one
# addition. With $f = 0$ nothing is dropped and nothing must be added.
#
# By hand with $f = 4$: $2.5 \cdot (-1.3125)$ has the codes $40$ and $-21$. The product is $-840$, plus 8 is $-832$,
# shifted by 4 is **−52**, which means −3.25. The exact product is −3.28125, that is −52.5 steps: a tie, gone up.
#
# Codes have 32 bits, products 64. What does not fit into 32 bits at the end saturates. Do not compute in floats:
# products need up to 63 bits, float64 carries 53.


# %% nbgrader={"grade_id": "fixed_multiply", "solution": true}
def fixed_multiply(a, b, fraction_bits):
    """Multiplies fixed-point codes of 32 bits with the same point, in integer arithmetic.

    Rounds to nearest; ties go up, toward plus infinity. What does not fit into 32 bits saturates.

    Args:
        a, b: int32 or int64 tensors of one shape, whole numbers from -2^31 to 2^31 - 1. They are not changed.
        fraction_bits: bits behind the point, 0 to 31.

    Returns:
        New int64 tensor of the same shape: the codes of the products, from -2^31 to 2^31 - 1.

    Raises:
        ValueError: if fraction_bits is out of its range, also if a and b are empty.
    """
    ### BEGIN SOLUTION
    if not 0 <= fraction_bits <= 31:
        raise ValueError(f"fraction_bits must lie in 0..31, not {fraction_bits}")
    product = a.long() * b.long()
    half = 1 << fraction_bits >> 1  # 0 if nothing is dropped
    return ((product + half) >> fraction_bits).clamp(-(2**31), 2**31 - 1)
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_fixed_multiply", "grade": true, "points": 3}
### BEGIN HIDDEN TESTS
def exact_products(a, b, f):
    exact = [math.floor(Fraction(m * n, 2**f) + Fraction(1, 2)) for m, n in zip(a.tolist(), b.tolist(), strict=True)]
    return torch.tensor([min(max(v, -(2**31)), 2**31 - 1) for v in exact])


### END HIDDEN TESTS
def expect_products(a, b, f, expected, rule, hint):
    """Codes, dtype and shape; and a and b are not changed."""
    facts = f"a = {a.tolist()}, b = {b.tolist()}, {f} fraction bits" if len(a) < 9 else f"{f} fraction bits"
    before = state_of(a, b)
    q = expect_returns(lambda: fixed_multiply(a, b, f), rule, given=facts, hint=hint)
    expect_unchanged(before, state_of(a, b), "a and b are not changed", hint="no *= and no method with _")
    types = "the result is an int64 tensor of the shape of a and b"
    expect_type(q, torch.int64, types, shape=a.shape, given=facts, hint="which dtype do you multiply in?")
    expect_equal(q, expected, rule, given=facts, hint=hint)


with check("fixed_multiply"):
    scaled_back = "the code of the product is a * b / 2^fraction_bits"
    rounding = "it is rounded to nearest, and a tie goes up"
    for f, rule, hint, a, b, expected in (
        (4, scaled_back, "shift once", [40, 24, 16], [16, 32, 24], [40, 48, 24]),
        (16, scaled_back, "shift once", [98304, 98304], [98304, 65536], [147456, 98304]),
        (31, scaled_back, "shift once", [2**30, -(2**30)], [2**30, 2**30], [2**29, -(2**29)]),
        *(
            (4, rounding, "a shift alone rounds down: what has to be added before?", *case)
            for case in (
                ([40, 3, -3, 5, -5], [-21, 6, 6, 5, 5], [-52, 1, -1, 2, -2]),
                ([1, 5, -5, -1, 1], [7, 8, 8, 8, 8], [0, 3, -2, 0, 1]),
            )
        ),
        (1, rounding, "with 1 bit, half is 1", [1, 3, -1, -3], [1, 1, 1, 1], [1, 2, 0, -1]),
        (31, rounding, "half is 2^30 here", [2**30, -(2**30), 3], [1, 1, 2**30], [1, 0, 2]),
        (24, scaled_back, "shift once, the product", [2**11, 2**23, -(2**11)], [2**12, 2**23, 2**13], [1, 2**22, -1]),
        (0, scaled_back, "nothing is shifted", [3, -5, 0], [7, 11, -9], [21, -55, 0]),
    ):
        for kind in (torch.int64, torch.int32):
            expect_products(torch.tensor(a, dtype=kind), torch.tensor(b, dtype=kind), f, expected, rule, hint)
    places = torch.arange(200_003)
    a, b = 13 * places % 30011 - 15000, 16 * (places % 97) - 800
    expected = torch.div(a * b + 8, 16, rounding_mode="floor")
    expect_products(a, b, 4, expected, rounding, "of 200,003 elements the last one, too")
    ### BEGIN HIDDEN TESTS
    g = generator()
    for f in range(32):
        for bits in torch.randint(1, 32, (2,), generator=g).tolist():
            a = torch.randint(-(2**bits), 2**bits, (60,), generator=g)
            limit = min(2 ** (31 + f) // (2**bits), 2**31)  # most products fit
            b = torch.randint(-limit, limit, (60,), generator=g)
            expected = exact_products(a, b, f)
            if bits % 2:
                a, b = a.int(), b.int()
            expect_products(a, b, f, expected, rounding, "a shift alone rounds down")
    for f in range(1, 32):  # ties, all of them
        odd = torch.arange(-41, 42, 2)
        expect_products(
            odd, torch.full_like(odd, 2 ** (f - 1)), f, (odd + 1) // 2, rounding, "-0.5 goes to 0, 0.5 to 1"
        )
    ### END HIDDEN TESTS


# %% nbgrader={"grade_id": "check_fixed_multiply_edges", "grade": true, "points": 1}
### BEGIN HIDDEN TESTS
def exact_products(a, b, f):
    exact = [math.floor(Fraction(m * n, 2**f) + Fraction(1, 2)) for m, n in zip(a.tolist(), b.tolist(), strict=True)]
    return torch.tensor([min(max(v, -(2**31)), 2**31 - 1) for v in exact])


### END HIDDEN TESTS
# (fraction_bits, a, b): what a * b leaves behind the point is one unit less than a half
JUST_BELOW_HALF = ((24, 1073754169, 11223543), (26, 1275068419, 55924053), (30, 1500000001, 1338453759))
JUST_BELOW_HALF += tuple(
    (f, a, pow(a, -1, 2**f) * (2 ** (f - 1) - 1) % 2**f) for f, a in ((27, 2**27 - 9), (28, 2**27 - 5))
)

with check("fixed_multiply"):
    top, low = 2**31 - 1, -(2**31)
    saturates = "what does not fit into 32 bits saturates at -2^31 or 2^31 - 1"
    wide = "int32 codes are multiplied in 64 bits"
    exact = "the arithmetic is that of whole numbers: float64 has too few bits for a product of two codes"
    none = "with 0 fraction bits it is the product of whole numbers"
    for f, rule, hint, a, b, expected in (
        (
            16,
            wide,
            "a product of int32 tensors wraps around",
            [98304, -98304, 50000],
            [98304, 98304, 50000],
            [147456, -147456, 38147],
        ),
        (31, exact, "no floats, not even float64", [2087880753, top], [1501048623, 3], [1459387377, 3]),
        *((f, exact, "no floats, not even float64", [a], [b], [a * b >> f]) for f, a, b in JUST_BELOW_HALF),
        (
            0,
            none,
            "nothing is dropped, so half of it is 0; 1 << -1 is an error",
            [7, -3, 40_000],
            [-6, -5, 40_000],
            [-42, 15, 16 * 10**8],
        ),
        (16, saturates, "at the end, in int64", [top, low, low, 10**9], [top, top, low, 10**9], [top, low, top, top]),
        (
            0,
            saturates,
            "at the end, in int64",
            [65536, -65536, 65536],
            [32768, 32768, 32767],
            [top, low, 65536 * 32767],
        ),
        (
            31,
            saturates,
            "only (-1) * (-1) is too large here",
            [low, low, top],
            [low, top, top],
            [top, low + 1, top - 1],
        ),
        (31, wide, "-2^31 has no positive counterpart in int32", [low, low, 1], [1, low, low], [-1, top, -1]),
    ):
        for kinds in ((torch.int64, torch.int64), (torch.int32, torch.int32), (torch.int32, torch.int64)):
            x, y = torch.tensor(a, dtype=kinds[0]), torch.tensor(b, dtype=kinds[1])
            given, before = f"a = {a} in {kinds[0]}, b = {b} in {kinds[1]}, {f} fraction bits", state_of(x, y)
            got = expect_returns(lambda x=x, y=y, f=f: fixed_multiply(x, y, f), rule, given=given, hint=hint)
            expect_unchanged(before, state_of(x, y), "a and b are not changed", hint="no *= and no method with _")
            expect_equal(got, expected, rule, given=given, hint=hint)
            types = "the result is an int64 tensor of the shape of a and b"
            expect_type(got, torch.int64, types, given=given, hint="which dtype do you multiply in?")
    refused = "fraction_bits out of 0 .. 31 is refused with a ValueError"
    for f in (-1, 32, 40):
        for a in ([3], []):
            expect_raises(
                ValueError,
                lambda a=a, f=f: fixed_multiply(torch.tensor(a).long(), torch.tensor(a).long(), f),
                refused,
                given=f"a = b = {a}, fraction_bits={f}",
                hint="test it first of all",
            )
    shapes = "a and b may have any shape, an empty one too, and lie in memory in any order"
    for shape in ((0,), (), (2, 3), (2, 0)):
        ones = torch.ones(shape, dtype=torch.int32)
        got = expect_returns(lambda ones=ones: fixed_multiply(4 * ones, 6 * ones, 3), shapes, given=f"shape {shape}")
        expect_equal(got, 3 * ones, shapes, given=f"shape {shape}", hint="no loops, no a.max()")
    a = torch.tensor([[2, 4], [6, 8]])
    got = expect_returns(
        lambda: fixed_multiply(a.T, a, 1), shapes, given="a transposed tensor", hint=".view refuses it"
    )
    expect_equal(got, [[2, 12], [12, 32]], shapes, given="a transposed tensor", hint="element by element")
    for kind in (torch.int64, torch.int32):
        for f, expected in ((0, [[15, 14], [-8, 27], [15, 14]]), (1, [[8, 7], [-4, 14], [8, 7]])):
            pairs = (([3, -2], [5, -7]), ([4, 9], [-2, 3]), ([3, -2], [5, -7]))
            sets = [(torch.tensor(a, dtype=kind), torch.tensor(b, dtype=kind), f) for a, b in pairs]
            for got in reused(fixed_multiply, sets):
                rule = "each call makes a tensor of its own, of the codes that a and b hold now"
                given = f"{pairs}, written into the same two {kind} tensors one after the other, {f} fraction bits"
                expect_equal(got, [torch.tensor(e) for e in expected], rule, given=given, hint="keep nothing")
    ### BEGIN HIDDEN TESTS
    g = generator()
    small = torch.randint(-40_000, 40_000, (2, 100), generator=g)
    got = expect_returns(lambda: fixed_multiply(small[0], small[1], 0), none, hint="half is 0 here")
    expect_equal(got, (small[0] * small[1]).clamp(low, top), none, given=small[0], hint="half is 0 here")
    a, b = torch.randint(low, 2**31, (2, 300), generator=g)
    for f in (0, 1, 8, 16):
        given = f"fraction_bits = {f}"
        expect_equal(fixed_multiply(a, b, f), exact_products(a, b, f), saturates, given=given, hint="at the end")
        got = fixed_multiply(a.int(), b.int(), f)
        expect_equal(got, exact_products(a, b, f), wide, given=given, hint="a product of int32 tensors wraps around")
    a, b = torch.randint(low, 2**31, (2, 100), generator=g)
    a[::7] = low
    for left, right in ((a.int(), b.int()), (a.int(), b), (a, b.int())):
        given = f"{left.dtype} and {right.dtype}"
        expect_equal(fixed_multiply(left, right, 31), exact_products(a, b, 31), wide, given=given, hint="64 bits")
    # made so that a * b lies right below a tie: here float64, which carries 53 bits, rounds the wrong way
    cases = [(f, 31) for f in range(24, 32)] + [(n - below, n) for n in (27, 28, 29, 30) for below in (0, 1)]
    for f, bits in cases:
        a = torch.randint(2 ** (bits - 1), 2**bits, (150,), generator=g) | 1
        inverse = torch.tensor([pow(n, -1, 2**f) for n in a.tolist()])
        b = (inverse * (2 ** (f - 1) - 1)) % 2**f  # a * b = 2^(f-1) - 1 modulo 2^f
        given = f"a * b just below a tie, fraction_bits = {f}"
        expect_equal(fixed_multiply(a, b, f), exact_products(a, b, f), exact, given=given, hint="no floats")
    for f in (-7, 33, 64, -1, 32, 2**31):
        for x in (a, a.int(), a[:0], torch.tensor(0), torch.zeros(2, 0).int()):
            expect_raises(ValueError, lambda x=x, f=f: fixed_multiply(x, x, f), refused, given=f"fraction_bits={f}")
    x = torch.randint(low, 2**31, (3, 4, 5), generator=g)
    for left, right in ((x, x), (x.transpose(0, 2), x.transpose(0, 2).int()), (x[:, ::2].int(), x[:, 1:3])):
        expected = exact_products(left.flatten(), right.flatten(), 20).reshape(left.shape)
        expect_equal(fixed_multiply(left, right, 20), expected, shapes, given=f"parts of shape {tuple(left.shape)}")
    ### END HIDDEN TESTS

# %% [markdown]
# ## Explore: which format is good where?
#
# The whole lab in one picture. Numbers of all sizes go through *your* `round_to_minifloat` and *your* `to_fixed`, with
# 8 bits. The curves show the relative error (root mean square in each power of two). Before you look: what should the
# curve of a float look like inside its range, below its smallest normal value, above its largest? And fixed point?

# %% tags=["explore"]
positions = torch.linspace(-12, 10, 22 * 500 + 1, dtype=torch.float64)[:-1]
sizes = (2.0**positions).float()
curves = {
    "e5m2": ("blue", "-", round_to_minifloat(sizes, 5, 2)),
    "e4m3": ("green", "-.", round_to_minifloat(sizes, 4, 3)),
    "e3m4": ("orange", ":", round_to_minifloat(sizes, 3, 4)),
    "fixed 5.3": ("vermillion", "--", to_fixed(sizes, 5, 3) / 2**3),
}
figure, axes = plt.subplots(figsize=(8, 4))
for name, (colour, style, rounded) in curves.items():
    relative = ((rounded.double() - sizes.double()) / sizes.double()).reshape(-1, 500)  # a row for each power of two
    error = relative.square().mean(1).sqrt()
    axes.stairs(
        100 * error, range(-12, 11), baseline=None, color=COLOURS[colour], linestyle=style, linewidth=1.8, label=name
    )
    print(f"{name:10s} between 1 and 8: {100 * relative[12:15].square().mean().sqrt():6.3f} % relative error")
axes.set_yscale("log")
axes.set_ylim(0.3, 150)
axes.set_yticks([1, 10, 100], ["1", "10", "100"])
axes.set_xticks(range(-12, 11, 2), [f"$2^{{{n}}}$" for n in range(-12, 11, 2)])
axes.set_xlabel("size of the number")
axes.set_ylabel("relative error (%)")
axes.set_title("8 bits each: a float is equally good over its range, fixed point only near the top")
axes.legend()
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# A float has a plateau inside its range: the relative error is the same in each power of two. Below the smallest normal
# value the step stays what it is, so the relative error doubles with each halving of the number, up to 100 % where all
# numbers become 0. Above the largest value everything saturates, and the error climbs to 100 % as well. One more
# mantissa bit halves the plateau; one more exponent bit makes it longer, to both sides. Fixed point has no plateau: its
# *absolute* error is the same everywhere, so its relative error falls as the numbers grow, until they no longer fit.
#
# </details>

# %% [markdown]
# ## Explore: the weights of a network
#
# Which part of these ranges does a neural network need? The cell takes `ClassyClassifier`, a small image classifier,
# with trained weights that come with the course (it says for which data). The histogram counts its weights by size.
# Below it, each bar is the range of one 8-bit format: full colour for normal values, light for subnormal ones. (Bars
# that touch the edge go on beyond it.)

# %% tags=["explore"]
from course_utils.data import classification_data
from course_utils.networks import accuracy, load_trained, normalize

data = classification_data(train=False)
model = load_trained(f"classyclassifier-{data.name}")
print(data.note)
weights = torch.cat([p.detach().flatten() for p in model.parameters() if p.dim() > 1])
sizes = weights.abs().clamp(min=2.0**-24).log2()

splits = {(e, 7 - e): minifloat_values(e, 7 - e).log2() for e in range(1, 7)}
figure, (top, bottom) = plt.subplots(2, 1, figsize=(8, 4.6), sharex=True, height_ratios=(3, 2))
top.hist(
    sizes.numpy(), bins=np.arange(-20, 3.01, 0.25), color=COLOURS["sky"], weights=np.full(len(sizes), 100 / len(sizes))
)
top.set_ylabel("share of the weights (%)")
top.set_title(f"{len(weights)} weights of ClassyClassifier, trained on {data.name}")
for row, ((e, _), positive) in enumerate(splits.items()):
    positive = positive[positive.isfinite()]
    normal = 2 - 2 ** (e - 1)  # exponent of the smallest normal value
    bottom.barh(row, positive[-1] - positive[0], left=positive[0], color=COLOURS["blue"], alpha=0.3, height=0.6)
    if e > 1:
        bottom.barh(row, positive[-1] - normal, left=normal, color=COLOURS["blue"], height=0.6)
bottom.set_yticks(range(len(splits)), [f"e{e}m{m}" for e, m in splits])
bottom.invert_yaxis()
bottom.set_xlim(-20, 3)
bottom.set_xticks(range(-20, 4, 2), [f"$2^{{{n}}}$" for n in range(-20, 4, 2)])
bottom.set_xlabel("size of the weight")
bottom.set_ylabel("8-bit format")
bottom.grid(False, axis="y")
plt.show()
print(f"half of the weights are smaller than {weights.abs().median():.4f}, the largest is {weights.abs().max():.4f}")
share = ((weights.abs() >= 2.0**-6) & (weights.abs() < 2.0**-3)).double().mean()
print(f"{100 * share:.0f} % lie between 2^-6 and 2^-3")

# %% [markdown]
# Now round all weights, as they are, into each format of 8 bits, and then of 6, and count correct answers. The
# signal-to-noise ratio says how large the weights are against their rounding errors, in decibels (10 dB is ten times
# the power).

# %% tags=["explore"]
import copy


def with_weights(network, change):
    """A copy of the network whose weights went through a function. Biases stay as they are."""
    changed = copy.deepcopy(network)
    with torch.no_grad():
        for p in changed.parameters():
            if p.dim() > 1:
                p.copy_(change(p.detach()))
    return changed


def noise_ratio_db(x, y):
    return 10 * math.log10(float(x.double().square().sum() / (x.double() - y.double()).square().sum()))


# the three colours of a pixel side by side in memory: convolutions and pooling are quicker so
images, labels = normalize(data.images[:1000]).to(memory_format=torch.channels_last), data.labels[:1000]
reference = 100 * accuracy(model, images, labels)
print(f"{data.name}, {len(images)} test images, float32 weights: {reference:.2f} % correct\n")
for n in (8, 6):
    ways = {f"e{e}m{n - 1 - e}": lambda w, e=e, n=n: round_to_minifloat(w, e, n - 1 - e) for e in range(1, n - 1)}
    ways |= {
        f"fixed {i}.{n - i}": lambda w, i=i, n=n: (to_fixed(w, i, n - i) / 2.0 ** (n - i)).float() for i in (1, 2, 4)
    }
    print(f"{n} bits       signal to noise     correct")
    for name, change in ways.items():
        share = 100 * accuracy(with_weights(model, change), images, labels)
        print(f"{name:10s}   {noise_ratio_db(weights, change(weights)):12.2f} dB   {share:7.2f} %")
    print()

# %% [markdown]
# <details><summary>Answers</summary>
#
# Most of the weights lie within three powers of two (the cell prints how many), and none is above 2. e4m3 has just
# these among its normal values, which begin at $2^{-6}$. Those of e3m4 begin at $2^{-2}$: nearly all weights are
# subnormal there. One more exponent bit, e5m2, covers the tail of tiny weights, which hardly count, and costs all
# others a digit.
#
# The best signal-to-noise ratio belongs to the splits whose normal range covers the bulk of the histogram with the most
# mantissa bits. Too few exponent bits: the weights sit among the subnormals, on a coarse even grid. (That is why e1m6
# and e2m5 agree: below 1 both are the same grid of steps 1/32.) Too many: powers that no weight needs, paid for with
# digits that all of them need. Fixed point does well where its range ends near the largest weight: half the range is
# half the step, and with each bit of range that no weight needs about 6 dB are lost. The share of correct answers
# follows only roughly. The network forgives a lot, and among 1000 images differences of about one percent are chance.
#
# </details>

# %% [markdown]
# ## What the field reports
#
# **Ranges.** The ECE 209 report says that float32's range is bought "with the cost of accuracy at larger values": your
# functions say how large the cost is. The second part of the table sets your formats beside those that torch reports
# for its own types.
#
# <details><summary>For the curious: how large is the largest?</summary>
#
# The report compares the largest 32-bit whole number, $2^{31} - 1 = 2{,}147{,}483{,}647$, with the largest float32
# number, $(2 - 2^{-23}) \cdot 2^{127} = 3.4028235 \cdot 10^{38}$. The Purdue lecture says "as large as $2^{127}$": that
# is the largest *power*; the largest number is nearly twice that.
#
# </details>

# %% tags=["explore"]
largest = float32_value(0, 254, 2**23 - 1)
print(f"largest float32:  reported 3.4028235e38   yours {largest:.8g}   2^127 = {2.0**127:.4g}")
for power in (0, 24, 30):
    step = float32_value(0, 127 + power, 1) - float32_value(0, 127 + power, 0)
    print(f"step of float32 at 2^{power:<2d}: {step:g}   (32-bit whole numbers: 1)")
below, next_power = float32_value(0, 127, 2**23 - 1), float32_value(0, 128, 0)
relative = float32_value(0, 127, 1) - 1, (next_power - below) / below
print(f"relative step at 1: 2^{math.log2(relative[0]):.4f}, just below 2: 2^{math.log2(relative[1]):.4f}")
print()
print("format      yours: largest  smallest normal  smallest        torch: largest  smallest normal")
for name, e, m, dtype in (
    ("float16", 5, 10, torch.float16),
    ("bfloat16", 8, 7, torch.bfloat16),
    ("e5m2", 5, 2, torch.float8_e5m2),
    ("e4m3", 4, 3, torch.float8_e4m3fn),
):
    values, info = minifloat_values(e, m), torch.finfo(dtype)
    smallest, normal = values[values > 0][0].item(), 2.0 ** (2 - 2 ** (e - 1))
    mark = "" if info.max == values[-1].item() else "   <- differs"
    print(
        f"{name:10s} {values[-1].item():14.6g} {normal:16.4g} {smallest:9.4g} {info.max:22.6g} {info.tiny:16.4g}{mark}"
    )

# %% [markdown]
# <details><summary>Why one line differs, and the report's accuracy test, for the curious</summary>
#
# One line differs, and for a reason. Torch's 8-bit type is called `float8_e4m3fn`: "fn" stands for *finite, with
# NaN*. Its makers (P. Micikevicius and others, *FP8 Formats for Deep Learning*, 2022) gave up infinities and all NaNs
# but one: with only four exponent bits, a whole exponent for them costs too much range. So the field 15 holds numbers
# too, all but one pattern, and the format ends at $1.75 \cdot 2^8 = 448$ in place of $1.875 \cdot 2^7 = 240$. Read the
# fine print of a format before you trust its name.
#
# **An accuracy test.** The ECE 209 report rounds $64 \times 64 \times 64$ random numbers between −15.5 and 15.5 to 8
# bits with 3 exponent bits, and takes the mean squared error: 0.01191 with its own function, and 0.00494 with a
# built-in function of TensorFlow. (It does not say which random distribution; an even one fits.) You have all the
# parts to repeat it. The cell adds a variant whose mantissa is not allowed to carry into the next power of two.
#
# </details>


# %% tags=["explore"]
def without_carry(x):
    step = 2.0 ** (torch.floor(torch.log2(x.abs())).clamp(-2, 3) - 4)
    end_of_binade = torch.where(x.abs() < 0.25, 15, 31)  # mantissa all ones; a subnormal number has no leading 1
    return torch.sign(x) * torch.minimum(torch.round(x.abs() / step), end_of_binade) * step


def even_grid(x):
    step = 62 / 255  # 255 steps over +-31
    return torch.round(x / step) * step


maker = torch.Generator().manual_seed(0)
errors = []
for _ in range(20):
    x = torch.rand(64, 64, 64, generator=maker) * 31 - 15.5
    ways = round_to_minifloat(x, 3, 4), without_carry(x), to_fixed(x, 5, 3) / 8, even_grid(x)
    errors.append([(y.double() - x.double()).square().mean().item() for y in ways])
mean, spread = np.mean(errors, axis=0), np.std(errors, axis=0, ddof=1)
names = (
    ("3 exponent and 4 mantissa bits, to nearest", ""),
    ("the same, but the mantissa may not carry", "0.01191"),
    ("fixed 5.3, range -16 to 15.875", ""),
    ("even grid over +-31, 8 bits", "0.00494"),
)
print(f"{'mean squared error':44s} {'reported':>9s}    computed, 20 draws")
for (name, reported), value, deviation in zip(names, mean, spread, strict=True):
    print(f"{name:44s} {reported:>9s}    {value:.5f} ± {deviation:.5f}")

# %% [markdown]
# <details><summary>Three lessons</summary>
#
# Three lessons. The published 0.01191 is worse than true rounding to nearest, by many times what chance would do (the
# figure after ± is the standard deviation of one draw). It fits a function that lost the carry, like 3.97 → 3.875 in
# exercise 5. The built-in function's 0.00494 is what an even grid over *twice* the range gives; over the range itself
# an even grid such as fixed 5.3 is about four times better. And the report's finding that its minifloat is the worse
# of the two holds for *these* data: numbers spread evenly up to the largest value are the best case for an even grid
# and the worst for a float. You have just seen that the weights of a network look quite different.
#
# </details>

# %% [markdown]
# ## Recap
#
# - A float is a sign, a power of two and a significand whose leading 1 is not stored. The smallest exponent field
#   means subnormal, without a leading 1; the largest is reserved for infinity and NaN.
# - Adding means: align, add, normalise, round. What falls below the last bit is lost, and a long sum can stand still.
# - Exponent bits buy range, mantissa bits buy precision. A float's *relative* error is even over its range; fixed
#   point's *absolute* error is.
# - To round to any format: find the step at $x$, divide, round to a whole number, multiply, saturate.
# - Fixed point is whole-number arithmetic and one shift.
#
# Three questions to finish. A few sentences each, with numbers where you can.

# %% [markdown]
# ### Question 1 (2 points): a counter that stops
#
# A program counts events in a float32 number, adding 1.0 for each. At which count does it stop growing, and why
# exactly there? What would happen in bfloat16 (7 fraction bits)? Name two ways out.

# %% [markdown] nbgrader={"grade_id": "why_counters_stop", "grade": true, "solution": true, "points": 2}
# **Model answer.** At $2^{24} = 16{,}777{,}216$. A significand has 24 bits, so from $2^{24}$ to $2^{25}$ neighbours
# are 2 apart. Adding 1 gives a number exactly halfway between two neighbours; the tie goes to the even one, which is
# $2^{24}$ itself, so the counter stands still. In bfloat16 there are 8 significant bits, and it stops at $2^8 = 256$.
# Ways out: count in integers; add up in a wider format (float64, or float32 for bfloat16 data); add up in blocks and
# then add the blocks; carry the lost part along (Kahan summation); round stochastically.
#
# *Marking: 1 point for 2^24 with the reason (step 2 from there, tie to even) and 2^8 for bfloat16. 1 point for two
# workable ways out. An answer that says 2^24 + 1 or "when the step exceeds 1" counts as right.*

# %% [markdown]
# ### Question 2 (2 points): what are subnormals for?
#
# Some chips treat subnormal numbers as zero ("flush to zero"). For e3m4, how many of the positive values would be
# lost, and what would then be the distance from 0 to the smallest positive value, compared with the next step after
# it? Name one thing in a program that relies on subnormals.

# %% [markdown] nbgrader={"grade_id": "why_subnormals", "grade": true, "solution": true, "points": 2}
# **Model answer.** Field 0 has the fractions 1 to 15: 15 of the 111 positive values ($7 \cdot 16 - 1$), 13.5 %, would
# be lost. The smallest positive value would be $2^{-2} = 0.25$, and the step after it $2^{-6}$: a hole around zero
# that is 16 times as wide as the next step. With subnormals the steps go on evenly down to 0. Programs rely on it: a
# difference $x - y$ is 0 only if $x = y$ (the difference of two neighbours near the smallest normal value is
# subnormal), so `if x != y: z = 1 / (x - y)` cannot divide by zero. And small gradients or weights fade out gradually
# instead of vanishing at once.
#
# *Marking: 1 point for 15 values (or 15 of 111) and the hole of 0.25 against 1/64. 1 point for a reason that names
# what becomes of small differences or small numbers.*

# %% [markdown]
# ### Question 3 (2 points): float or fixed?
#
# You have 8 bits per number. Which of e4m3, e5m2 and fixed point meets the demand? Give the number that decides. (a)
# Image pixels between 0 and 0.99: the largest *absolute* error must be at most 0.005. (b) Gradients whose sizes vary
# from $10^{-4}$ to 10: the *relative* error of each must be at most 1/8, without a scale factor. (c) A layer's
# weights, scaled so that the largest just fits, half of which are smaller than a twentieth of it: the *relative* error
# must be at most 1/16 for all weights down to a hundredth of the largest.

# %% [markdown] nbgrader={"grade_id": "why_float_or_fixed", "grade": true, "solution": true, "points": 2}
# **Model answer.** (a) Fixed point: with the range $[-1, 1)$ it has a step of $2^{-7}$ everywhere, an error of at most
# half a step, 0.0039. e4m3 has steps of $2^{-4}$ just below 1, an error of up to 0.03; e5m2 of 0.06. (b) e5m2: its
# normal values begin at $2^{-14} = 6 \cdot 10^{-5}$ and have a relative error of at most $2^{-3} = 1/8$. e4m3 is
# normal only from $2^{-6} = 0.016$, and fixed point has one step for all. (c) e4m3: its 14 normal powers cover a
# factor of 16,000 with a relative error of at most $2^{-4} = 1/16$. e5m2 has 1/8. Fixed point has 127 steps up to the
# largest weight, so a weight at a twentieth of it is 6.35 steps: half a step is 8 %, and at a hundredth it is 39 %.
#
# *Marking: 1 point for fixed in (a) and e5m2 in (b), each with its number. 1 point for e4m3 in (c) with 1/16 against
# the error of fixed point at a small weight.*
