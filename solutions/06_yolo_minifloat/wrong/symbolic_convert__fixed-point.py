# Mistake: takes the exponent bits for the bits before the point
# Rule: every element goes to the nearest value of the format
def symbolic_convert(value, word_length, exponent_bits):
    if not (1 <= exponent_bits <= 7 and exponent_bits + 2 <= word_length <= 16):
        raise ValueError("bits")
    step = 2.0 ** -(word_length - 1 - exponent_bits)
    largest = 2.0**exponent_bits - step
    return (torch.round(value / step) * step).clamp(-largest, largest)
