# Mistake: half of 1 is the real number 0.5, which no >> can shift
# Rule: with 0 fraction bits it is the product of whole numbers
def fixed_multiply(a, b, fraction_bits):
    if not 0 <= fraction_bits <= 31:
        raise ValueError("fraction_bits must lie in 0..31")
    product = a.long() * b.long()
    q = (product + 2 ** (fraction_bits - 1)) >> fraction_bits
    return q.clamp(-(2**31), 2**31 - 1)
