# Mistake: the document's: the exponent has no lower end
# Rule: below the smallest normal value the step stays 2^(1 - bias - m)
def symbolic_convert(value, word_length, exponent_bits):
    if not (1 <= exponent_bits <= 7 and exponent_bits + 2 <= word_length <= 16):
        raise ValueError(f"no minifloat here has {word_length} bits, {exponent_bits} of them for the exponent")
    mantissa_bits = word_length - 1 - exponent_bits
    bias = 2 ** (exponent_bits - 1) - 1
    highest = max(2**exponent_bits - 2, 1) - bias
    leading = 2.0 if exponent_bits > 1 else 1.0
    largest = (leading - 2.0**-mantissa_bits) * 2.0**highest

    _, exponent = torch.frexp(value)
    k = (exponent - 1).clamp(max=highest)
    step = torch.ldexp(torch.ones_like(value), k - mantissa_bits)
    return (torch.round(value / step) * step).clamp(-largest, largest)
