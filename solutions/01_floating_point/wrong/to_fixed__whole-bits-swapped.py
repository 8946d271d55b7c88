# Mistake: takes integer_bits for the bits behind the point
# Rule: a code is round(x * 2^fraction_bits)
def to_fixed(x, integer_bits, fraction_bits):
    bits = integer_bits + fraction_bits
    if integer_bits < 1 or fraction_bits < 0 or not 2 <= bits <= 32:
        raise ValueError("bits out of range")
    if x.isnan().any():
        raise ValueError("x contains NaN")
    scaled = x.double() * 2.0**integer_bits
    lowest, largest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return torch.round(scaled).clamp(lowest, largest).long()
