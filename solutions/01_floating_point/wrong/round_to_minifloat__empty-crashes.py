# Mistake: asks for the largest element
# Rule: x may have any shape, an empty one too
def round_to_minifloat(x, exponent_bits, mantissa_bits):
    if not (1 <= exponent_bits <= 8 and 1 <= mantissa_bits <= 10):
        raise ValueError("bits out of range")
    bias = 2 ** (exponent_bits - 1) - 1
    lowest = 1 - bias
    highest = max(2**exponent_bits - 2, 1) - bias
    largest = (2 - 2.0**-mantissa_bits) * 2.0**highest
    if exponent_bits == 1:
        largest = (1 - 2.0**-mantissa_bits) * 2.0**highest
    wide = x.double()
    if x.max() == 0:
        return x.clone()
    k = (torch.frexp(wide)[1] - 1).clamp(lowest, highest)
    step = 2.0 ** (k - mantissa_bits).double()
    q = torch.round(wide / step)
    return (q * step).clamp(-largest, largest).float()
