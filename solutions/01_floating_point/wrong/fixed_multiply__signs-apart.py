# Mistake: multiplies sizes and signs apart, in the dtype of the codes
# Rule: what does not fit into 32 bits saturates
def fixed_multiply(a, b, fraction_bits):
    if not 0 <= fraction_bits <= 31:
        raise ValueError(f"fraction_bits must lie in 0..31, not {fraction_bits}")
    product = a.abs().long() * b.abs().long() * (a.sign() * b.sign())
    half = 1 << fraction_bits >> 1  # 0 if nothing is dropped
    return ((product + half) >> fraction_bits).clamp(-(2**31), 2**31 - 1)
