# Mistake: NaN becomes 0
# Rule: NaN is refused with a ValueError
def to_fixed(x, integer_bits, fraction_bits):
    bits = integer_bits + fraction_bits
    if integer_bits < 1 or fraction_bits < 0 or not 2 <= bits <= 32:
        raise ValueError(f"{integer_bits} and {fraction_bits} bits are not supported")
    x = x.nan_to_num(nan=0.0, posinf=math.inf, neginf=-math.inf)
    scaled = x.double() * 2.0**fraction_bits
    return torch.round(scaled).clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1).long()
