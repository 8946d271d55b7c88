# Mistake: accepts any number of bits
# Rule: numbers of bits out of their ranges are refused
def to_fixed(x, integer_bits, fraction_bits):
    bits = integer_bits + fraction_bits
    bits = max(bits, 1)
    if x.isnan().any():
        raise ValueError("x contains NaN")
    scaled = x.double() * 2.0**fraction_bits
    lowest, largest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return torch.round(scaled).clamp(lowest, largest).long()
