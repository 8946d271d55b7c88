# Mistake: converts to whole numbers before it clamps
# Rule: infinities and very large numbers saturate
def to_fixed(x, integer_bits, fraction_bits):
    bits = integer_bits + fraction_bits
    if integer_bits < 1 or fraction_bits < 0 or not 2 <= bits <= 32:
        raise ValueError("bits out of range")
    if x.isnan().any():
        raise ValueError("x contains NaN")
    scaled = x.double() * 2.0**fraction_bits
    lowest, largest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return torch.round(scaled).long().clamp(lowest, largest)
