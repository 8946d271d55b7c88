# Mistake: saturates above only
# Rule: what is out of range saturates at -2^(n-1) or 2^(n-1) - 1, with n = integer_bits + fraction_bits (fixed 4.4)
def to_fixed(x, integer_bits, fraction_bits):
    bits = integer_bits + fraction_bits
    if integer_bits < 1 or fraction_bits < 0 or not 2 <= bits <= 32:
        raise ValueError(f"{integer_bits} and {fraction_bits} bits are not supported")
    if x.isnan().any():
        raise ValueError("x contains NaN, for which there is no code")
    scaled = x.double() * 2.0**fraction_bits
    return torch.round(scaled).clamp(max=2 ** (bits - 1) - 1).long()
