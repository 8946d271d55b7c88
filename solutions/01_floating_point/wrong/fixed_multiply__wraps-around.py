# Mistake: wraps around instead of saturating
# Rule: what does not fit into 32 bits saturates
def fixed_multiply(a, b, fraction_bits):
    if not 0 <= fraction_bits <= 31:
        raise ValueError("fraction_bits must lie in 0..31")
    product = a.long() * b.long()
    half = 2 ** (fraction_bits - 1) if fraction_bits else 0
    q = (product + half) >> fraction_bits
    return (q + 2**31) % 2**32 - 2**31
