# Mistake: flattens by view, which a transposed tensor refuses
# Rule: a and b may have any shape, an empty one too, and lie in memory in any order
def fixed_multiply(a, b, fraction_bits):
    if not 0 <= fraction_bits <= 31:
        raise ValueError(f"fraction_bits must lie in 0..31, not {fraction_bits}")
    product = (a.view(-1).long() * b.view(-1).long()).view(a.shape)
    half = 1 << fraction_bits >> 1  # 0 if nothing is dropped
    return ((product + half) >> fraction_bits).clamp(-(2**31), 2**31 - 1)
