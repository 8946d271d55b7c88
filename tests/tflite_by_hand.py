"""TFLite's reference kernels element by element, in Python's integers: what `tflite_kernels` is tested against.

Written after the C++ sources (gemmlowp's fixedpoint.h, TFLite's reference kernels), function for function, and not
after our own module. Arrays are NumPy's; all arithmetic on their elements is Python's, or exact fractions.
"""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np

LOW, HIGH = -(2**31), 2**31 - 1
RANGES = {"int8": (-128, 127), "uint8": (0, 255)}


# --- gemmlowp ---


def cut(a: int, b: int) -> int:
    """C's division of integers: towards zero."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def saturate(a: int) -> int:
    return min(max(a, LOW), HIGH)


def high_mul(a: int, b: int) -> int:
    """SaturatingRoundingDoublingHighMul."""
    assert LOW <= a <= HIGH and LOW <= b <= HIGH
    if a == b == LOW:
        return HIGH
    nudge = 2**30 if a * b >= 0 else 1 - 2**30
    return cut(a * b + nudge, 2**31)


def divide_by_pot(x: int, exponent: int) -> int:
    """RoundingDivideByPOT."""
    assert 0 <= exponent <= 31
    mask = 2**exponent - 1
    threshold = (mask >> 1) + (1 if x < 0 else 0)
    return (x >> exponent) + (1 if x & mask > threshold else 0)


def multiply_by_pot(x: int, exponent: int) -> int:
    """SaturatingRoundingMultiplyByPOT."""
    return saturate(x << exponent) if exponent >= 0 else divide_by_pot(x, -exponent)


def quantize_multiplier(m: float) -> tuple[int, int]:
    """QuantizeMultiplier: a 31-bit number and the exponent of TFLite's sign (negative shifts right)."""
    value, exponent = Fraction(m), 0
    while value >= 1:
        value, exponent = value / 2, exponent + 1
    while value < Fraction(1, 2):
        value, exponent = value * 2, exponent - 1
    q = (value * 2**31 + Fraction(1, 2)).__floor__()
    if q == 2**31:
        q, exponent = q // 2, exponent + 1
    return (0, 0) if exponent < -31 else (q, exponent)


def multiply(x: int, multiplier: int, shift: int) -> int:
    """MultiplyByQuantizedMultiplier."""
    return divide_by_pot(high_mul(x * 2 ** max(shift, 0), multiplier), max(-shift, 0))


# --- what several kernels share ---


def float32(x: float) -> float:
    return float(np.float32(x))


def activation_range(scale: float, zero_point: int, dtype: str, activation: str) -> tuple[int, int]:
    """CalculateActivationRangeQuantized."""

    def code(value: float) -> int:
        steps = Fraction(float(np.float32(value) / np.float32(scale)))
        return zero_point + (1 if steps >= 0 else -1) * (abs(steps) + Fraction(1, 2)).__floor__()

    low, high = RANGES[dtype]
    match activation:
        case "RELU":
            return max(low, code(0.0)), high
        case "RELU6":
            return max(low, code(0.0)), min(high, code(6.0))
        case "RELU_N1_TO_1":
            return max(low, code(-1.0)), min(high, code(1.0))
    return low, high


def sides(side: int, window: int, stride: int, dilation: int, padding: str) -> tuple[int, int]:
    """ComputeOutSize and ComputePadding: how many outputs, and how many cells before the first."""
    window = (window - 1) * dilation + 1
    out = (side + stride - 1) // stride if padding == "SAME" else (side + stride - window) // stride
    total = (out - 1) * stride + window - side
    return out, max(total, 0) // 2


# --- kernels; a grid is (scale, zero point, dtype) ---


def convolution(x, weight, scales, weight_zero, bias, given, made, stride, padding, dilation, activation, depthwise=0):
    """ConvPerChannel and DepthwiseConvPerChannel (int8), Conv and DepthwiseConv (uint8).

    weight (out, height, width, in); with ``depthwise``, the multiplier, (1, height, width, out).
    """
    (x_scale, x_zero, _), (y_scale, y_zero, dtype) = given, made
    batch, height, width, channels = x.shape
    _, kernel_height, kernel_width, last = weight.shape
    outs = last if depthwise else len(weight)
    rows, above = sides(height, kernel_height, stride[0], dilation[0], padding)
    columns, left = sides(width, kernel_width, stride[1], dilation[1], padding)
    low, high = activation_range(y_scale, y_zero, dtype, activation)
    result = np.zeros((batch, rows, columns, outs), dtype)
    for b, i, j, o in itertools.product(range(batch), range(rows), range(columns), range(outs)):
        acc = 0
        for k, m in itertools.product(range(kernel_height), range(kernel_width)):
            r, s = i * stride[0] - above + k * dilation[0], j * stride[1] - left + m * dilation[1]
            if not (0 <= r < height and 0 <= s < width):
                continue
            for c in [o // depthwise] if depthwise else range(channels):
                w = weight[0, k, m, o] if depthwise else weight[o, k, m, c]
                acc += (int(x[b, r, s, c]) - x_zero) * (int(w) - weight_zero)
        acc += 0 if bias is None else int(bias[o])
        pair = layer_multiplier(float32(x_scale), scales, o, float32(y_scale), dtype == "uint8")
        result[b, i, j, o] = min(max(multiply(acc, *pair) + y_zero, low), high)
    return result


def layer_multiplier(x_scale: float, scales, out: int, y_scale: float, legacy: bool) -> tuple[int, int]:
    """PopulateConvolutionQuantizationParams; for uint8 GetQuantizedConvolutionMultipler."""
    if legacy:
        return quantize_multiplier(float(np.float32(x_scale) * np.float32(scales[0])) / y_scale)
    return quantize_multiplier(x_scale * float32(scales[out if len(scales) > 1 else 0]) / y_scale)


def fully_connected(x, weight, scales, weight_zero, bias, given, made, activation):
    (x_scale, x_zero, _), (y_scale, y_zero, dtype) = given, made
    low, high = activation_range(y_scale, y_zero, dtype, activation)
    result = np.zeros((len(x), len(weight)), dtype)
    for b, o in np.ndindex(result.shape):
        acc = sum((int(v) - x_zero) * (int(w) - weight_zero) for v, w in zip(x[b], weight[o], strict=True))
        acc += 0 if bias is None else int(bias[o])
        pair = layer_multiplier(float32(x_scale), scales, o, float32(y_scale), len(scales) == 1)
        result[b, o] = min(max(multiply(acc, *pair) + y_zero, low), high)
    return result


def add(first, second, grid_1, grid_2, made, activation):
    """AddElementwise, with the parameters of Prepare in add.cc."""
    scales = [float32(grid[0]) for grid in (grid_1, grid_2, made)]
    twice = 2 * max(scales[:2])
    *pairs, out = (quantize_multiplier(m) for m in (scales[0] / twice, scales[1] / twice, twice / (2**20 * scales[2])))
    low, high = activation_range(*made, activation)
    result = np.zeros(first.shape, made[2])
    for place in np.ndindex(first.shape):
        total = 0
        for x, grid, pair in zip((first, second), (grid_1, grid_2), pairs, strict=True):
            total += multiply((int(x[place]) - grid[1]) * 2**20, *pair)
        result[place] = min(max(multiply(total, *out) + made[1], low), high)
    return result


def average_pool(x, grid, window, stride, padding, activation):
    """AveragePool of integer_ops/pooling.h; of reference/pooling.h for uint8, where the sum is never negative."""
    batch, height, width, channels = x.shape
    rows, above = sides(height, window[0], stride[0], 1, padding)
    columns, left = sides(width, window[1], stride[1], 1, padding)
    low, high = activation_range(*grid, activation)
    result = np.zeros((batch, rows, columns, channels), grid[2])
    for b, i, j, c in np.ndindex(result.shape):
        cells = [
            int(x[b, r, s, c])
            for r in range(i * stride[0] - above, i * stride[0] - above + window[0])
            for s in range(j * stride[1] - left, j * stride[1] - left + window[1])
            if 0 <= r < height and 0 <= s < width
        ]
        acc, count = sum(cells), len(cells)
        acc = cut(acc + count // 2, count) if acc > 0 else cut(acc - count // 2, count)
        result[b, i, j, c] = min(max(acc, low), high)
    return result


def mean(x, given, made):
    """QuantizedMeanOrSum over height and width."""
    multiplier, shift = quantize_multiplier(float32(given[0]) / float32(made[0]))
    count = x.shape[1] * x.shape[2]
    fold = min(min(count.bit_length() - 1, 32), 31 + shift)  # 63 - CountLeadingZeros of 64 bits
    multiplier, shift = multiplier * 2**fold // count, shift - fold
    low, high = RANGES[made[2]]
    result = np.zeros((len(x), 1, 1, x.shape[3]), made[2])
    for b, c in itertools.product(range(len(x)), range(x.shape[3])):
        acc = sum(int(v) - given[1] for v in x[b, :, :, c].ravel())
        result[b, 0, 0, c] = min(max(multiply(acc, multiplier, shift) + made[1], low), high)
    return result


def requantize(x, given, made):
    pair = quantize_multiplier(float32(given[0]) / float32(made[0]))
    low, high = RANGES[made[2]]
    codes = [min(max(multiply(int(v) - given[1], *pair) + made[1], low), high) for v in x.ravel()]
    return np.array(codes, made[2]).reshape(x.shape)


# --- softmax ---


def exp_on_interval(a: int) -> int:
    """exp_on_interval_between_negative_one_quarter_and_0_excl, Q0.31."""
    x = a + 2**28
    x2 = high_mul(x, x)
    x3 = high_mul(x2, x)
    x4 = high_mul(x2, x2)
    x4_over_4 = multiply_by_pot(x4, -2)
    inner = multiply_by_pot(high_mul(x4_over_4 + x3, 715827883) + x2, -1)
    return 1895147668 + high_mul(1895147668, x + inner)


def exp_on_negative(a: int) -> int:
    """exp_on_negative_values of a Q5.26."""
    if a == 0:
        return HIGH
    quarter = 2**24
    rest = (a & (quarter - 1)) - quarter
    result = exp_on_interval(multiply_by_pot(rest, 5))
    remainder = rest - a
    factors = {-2: 1672461947, -1: 1302514674, 0: 790015084, 1: 290630308, 2: 39332535, 3: 720401, 4: 242}
    for exponent, factor in factors.items():
        if remainder & 2 ** (26 + exponent):
            result = high_mul(result, factor)
    return result


def one_over_one_plus(a: int) -> int:
    """one_over_one_plus_x_for_x_in_0_1, Q0.31."""
    total = a + HIGH
    half = cut(total + (1 if total >= 0 else -1), 2)
    x = 1515870810 + high_mul(half, -1010580540)
    for _ in range(3):
        x += multiply_by_pot(high_mul(x, 2**29 - high_mul(half, x)), 2)
    return multiply_by_pot(x, 1)


def softmax(x, given, dtype, beta):
    """Softmax of reference/softmax.h, with PreprocessSoftmaxScaling and CalculateInputRadius."""
    multiplier, left = quantize_multiplier(min(beta * float32(given[0]) * 2**26, 2.0**31 - 1))
    least = -(31 * 2**26 // 2**left)
    low, high = RANGES[dtype]
    result = np.full(x.shape, low, dtype)
    for row in np.ndindex(x.shape[:-1]):
        largest = max(int(v) for v in x[row])
        powers = {}
        for c, v in enumerate(x[row]):
            if int(v) - largest >= least:
                powers[c] = exp_on_negative(high_mul((int(v) - largest) * 2**left, multiplier))
        total = sum(multiply_by_pot(p, -12) for p in powers.values())
        headroom = 32 - total.bit_length()
        scale = one_over_one_plus((total << headroom) - 2**31)
        for c, p in powers.items():
            code = divide_by_pot(high_mul(scale, p), 12 - headroom + 31 - 8) + low
            result[(*row, c)] = min(max(code, low), high)
    return result
