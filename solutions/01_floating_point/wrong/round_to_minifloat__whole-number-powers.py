# Mistake: 2 ** k with whole numbers k, which is 0 where k is negative
# Rule: every element goes to the nearest value of the format
def round_to_minifloat(x, exponent_bits, mantissa_bits):
    if not (1 <= exponent_bits <= 8 and 1 <= mantissa_bits <= 10):
        raise ValueError("bits out of range")
    bias = 2 ** (exponent_bits - 1) - 1
    highest = max(2**exponent_bits - 2, 1) - bias
    largest = ((2 if exponent_bits > 1 else 1) - 2.0**-mantissa_bits) * 2.0**highest
    k = (torch.frexp(x)[1] - 1).clamp(1 - bias, highest)
    step = 2 ** (k - mantissa_bits)
    return (torch.round(x / step) * step).clamp(-largest, largest).float()
