# Mistake: accepts 32 fraction bits
# Rule: fraction_bits out of 0 .. 31 is refused with a ValueError
def fixed_multiply(a, b, fraction_bits):
    if not 0 <= fraction_bits <= 32:
        raise ValueError(f"fraction_bits must lie in 0..31, not {fraction_bits}")
    product = a.long() * b.long()
    half = 1 << fraction_bits >> 1  # 0 if nothing is dropped
    return ((product + half) >> fraction_bits).clamp(-(2**31), 2**31 - 1)
