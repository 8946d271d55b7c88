# Mistake: clamps in float32
# Rule: with 32 bits the largest code is 2^31 - 1
def to_fixed(x, integer_bits, fraction_bits):
    bits = integer_bits + fraction_bits
    if integer_bits < 1 or fraction_bits < 0 or not 2 <= bits <= 32:
        raise ValueError("bits out of range")
    if x.isnan().any():
        raise ValueError("x contains NaN")
    scaled = x.float() * 2.0**fraction_bits
    lowest, largest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return torch.round(scaled).clamp(lowest, largest).long()
