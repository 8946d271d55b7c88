# Mistake: the codes are int32
# Rule: the result is an int64 tensor of x's shape
def to_fixed(x, integer_bits, fraction_bits):
    bits = integer_bits + fraction_bits
    if integer_bits < 1 or fraction_bits < 0 or not 2 <= bits <= 32:
        raise ValueError(f"{integer_bits} and {fraction_bits} bits are not supported")
    if x.isnan().any():
        raise ValueError("x contains NaN, for which there is no code")
    scaled = x.double() * 2.0**fraction_bits
    return torch.round(scaled).clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1).int()
