# Mistake: the document's: the logarithm of negative numbers
# Rule: every element goes to the nearest value of the format
def symbolic_convert(value, word_length, exponent_bits):
    if not (1 <= exponent_bits <= 7 and exponent_bits + 2 <= word_length <= 16):
        raise ValueError(f"no minifloat here has {word_length} bits, {exponent_bits} of them for the exponent")
    mantissa_bits = word_length - 1 - exponent_bits
    bias = 2 ** (exponent_bits - 1) - 1
    lowest, highest = 1 - bias, max(2**exponent_bits - 2, 1) - bias
    leading = 2.0 if exponent_bits > 1 else 1.0
    largest = (leading - 2.0**-mantissa_bits) * 2.0**highest

    k = torch.floor(torch.log2(value)).clamp(lowest, highest).nan_to_num(0).int()
    step = torch.ldexp(torch.ones_like(value), k - mantissa_bits)
    return (torch.round(value / step) * step).clamp(-largest, largest)
