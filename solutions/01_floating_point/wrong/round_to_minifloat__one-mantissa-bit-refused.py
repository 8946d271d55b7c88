# Mistake: refuses 1 mantissa bit
# Rule: what is beyond the largest value saturates at it
def round_to_minifloat(x, exponent_bits, mantissa_bits):
    if not (1 <= exponent_bits <= 8 and 1 < mantissa_bits <= 10):
        raise ValueError(f"no minifloat here has {exponent_bits} exponent and {mantissa_bits} mantissa bits")
    bias = 2 ** (exponent_bits - 1) - 1
    lowest = 1 - bias
    highest = max(2**exponent_bits - 2, 1) - bias
    leading = 1 if exponent_bits > 1 else 0
    largest = (leading + 1 - 2.0**-mantissa_bits) * 2.0**highest

    wide = x.double()  # 2^(k - m) may be too small for float32
    _, exponent = torch.frexp(wide)
    k = (exponent - 1).clamp(lowest, highest)
    step = 2.0 ** (k - mantissa_bits).double()
    return (torch.round(wide / step) * step).clamp(-largest, largest).float()
