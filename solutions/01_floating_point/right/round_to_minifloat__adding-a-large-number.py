# Way: by adding and subtracting a large power of two, with the binade from the bits
def round_to_minifloat(x, exponent_bits, mantissa_bits):
    if not (0 < exponent_bits < 9 and 0 < mantissa_bits < 11):
        raise ValueError("bits out of range")
    bias = 2 ** (exponent_bits - 1) - 1
    top = 2.0 ** (max(2**exponent_bits - 2, 1) - bias)
    largest = (2.0 if exponent_bits > 1 else 1.0) * top - top * 2.0**-mantissa_bits
    v = x.double().clamp(-largest, largest)
    binade = (v.view(torch.int64) & 0x7FF0000000000000).view(torch.float64).clamp(2.0 ** (1 - bias), top)
    shift = binade * (1.5 * 2.0 ** (52 - mantissa_bits))
    return ((v + shift) - shift).clamp(-largest, largest).float()
