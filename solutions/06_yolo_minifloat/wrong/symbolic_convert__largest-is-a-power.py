# Mistake: clamps at the largest power of two
# Rule: what is beyond the largest value saturates at it
def symbolic_convert(value, word_length, exponent_bits):
    if not (1 <= exponent_bits <= 7 and exponent_bits + 2 <= word_length <= 16):
        raise ValueError(f"no minifloat here has {word_length} bits, {exponent_bits} of them for the exponent")
    mantissa_bits = word_length - 1 - exponent_bits
    bias = 2 ** (exponent_bits - 1) - 1
    lowest, highest = 1 - bias, max(2**exponent_bits - 2, 1) - bias
    largest = 2.0**highest

    _, exponent = torch.frexp(value)
    k = (exponent - 1).clamp(lowest, highest)
    step = torch.ldexp(torch.ones_like(value), k - mantissa_bits)
    return (torch.round(value / step) * step).clamp(-largest, largest)
