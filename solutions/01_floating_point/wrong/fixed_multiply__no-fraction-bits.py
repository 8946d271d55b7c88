# Mistake: fails with 0 fraction bits
# Rule: with 0 fraction bits it is the product of whole numbers
def fixed_multiply(a, b, fraction_bits):
    if not 0 <= fraction_bits <= 31:
        raise ValueError("fraction_bits must lie in 0..31")
    product = a.long() * b.long()
    half = 1 << (fraction_bits - 1)
    q = (product + half) >> fraction_bits
    return q.clamp(-(2**31), 2**31 - 1)
