# Mistake: wraps around instead of saturating
# Rule: what is out of range saturates at -2^(n-1)
def to_fixed(x, integer_bits, fraction_bits):
    bits = integer_bits + fraction_bits
    if integer_bits < 1 or fraction_bits < 0 or not 2 <= bits <= 32:
        raise ValueError("bits out of range")
    if x.isnan().any():
        raise ValueError("x contains NaN")
    scaled = x.double() * 2.0**fraction_bits
    lowest = -(2 ** (bits - 1))
    return (torch.round(scaled).clamp(-1e15, 1e15).long() - lowest) % 2**bits + lowest
