# Mistake: works in the memory of x
# Rule: x itself is not changed
def round_to_minifloat(x, exponent_bits, mantissa_bits):
    if not (1 <= exponent_bits <= 8 and 1 <= mantissa_bits <= 10):
        raise ValueError("bits out of range")
    bias = 2 ** (exponent_bits - 1) - 1
    lowest = 1 - bias
    highest = max(2**exponent_bits - 2, 1) - bias
    largest = (2 - 2.0**-mantissa_bits) * 2.0**highest
    if exponent_bits == 1:
        largest = (1 - 2.0**-mantissa_bits) * 2.0**highest
    x.clamp_(-largest, largest)
    wide = x.double()
    k = (torch.frexp(wide)[1] - 1).clamp(lowest, highest)
    step = 2.0 ** (k - mantissa_bits).double()
    q = torch.round(wide / step)
    return (q * step).clamp(-largest, largest).float()
