# Mistake: multiplies in 32 bits
# Rule: the code of the product is a * b / 2^fraction_bits
def fixed_multiply(a, b, fraction_bits):
    if not 0 <= fraction_bits <= 31:
        raise ValueError("fraction_bits must lie in 0..31")
    product = (a.int() * b.int()).long()
    half = 2 ** (fraction_bits - 1) if fraction_bits else 0
    q = (product + half) >> fraction_bits
    return q.clamp(-(2**31), 2**31 - 1)
