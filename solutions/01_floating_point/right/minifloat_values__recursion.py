# Way: a format with one bit less, and the values between
import itertools


def minifloat_values(exponent_bits, mantissa_bits):
    if not 0 < exponent_bits < 9 or not 0 < mantissa_bits < 11:
        raise ValueError("bits")

    def positive(m):
        if m == 0:
            bias = 2 ** (exponent_bits - 1) - 1
            return [0.0] + [2.0 ** (field - bias) for field in range(1, 2**exponent_bits)]
        coarse = positive(m - 1)
        return sorted(coarse + [(a + b) / 2 for a, b in itertools.pairwise(coarse)])

    values = positive(mantissa_bits)[:-1]
    return torch.tensor([-v for v in values[:0:-1]] + values, dtype=torch.float32)
