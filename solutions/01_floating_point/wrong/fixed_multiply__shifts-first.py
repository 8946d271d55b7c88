# Mistake: shifts the factors before multiplying, which drops bits
# Rule: it is rounded to nearest, and a tie goes up
def fixed_multiply(a, b, fraction_bits):
    if not 0 <= fraction_bits <= 31:
        raise ValueError("fraction_bits must lie in 0..31")
    product = (a.long() >> fraction_bits // 2) * (b.long() >> (fraction_bits - fraction_bits // 2))
    half = 2 ** (fraction_bits - 1) if fraction_bits else 0
    q = product + 0 * half
    return q.clamp(-(2**31), 2**31 - 1)
