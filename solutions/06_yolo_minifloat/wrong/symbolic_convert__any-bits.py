# Mistake: accepts any number of bits
# Rule: a number of bits out of its range is refused with a ValueError
def symbolic_convert(value, word_length, exponent_bits):
    mantissa_bits = word_length - 1 - exponent_bits
    bias = 2 ** (exponent_bits - 1) - 1
    lowest, highest = 1 - bias, max(2**exponent_bits - 2, 1) - bias
    leading = 2.0 if exponent_bits > 1 else 1.0
    largest = (leading - 2.0**-mantissa_bits) * 2.0**highest

    _, exponent = torch.frexp(value)
    k = (exponent - 1).clamp(lowest, highest)
    step = torch.ldexp(torch.ones_like(value), k - mantissa_bits)
    return (torch.round(value / step) * step).clamp(-largest, largest)
