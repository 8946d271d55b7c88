# Mistake: accepts any number of fraction bits
# Rule: fraction_bits out of 0 .. 31 is refused
def fixed_multiply(a, b, fraction_bits):
    fraction_bits = min(max(fraction_bits, 0), 62)
    product = a.long() * b.long()
    half = 2 ** (fraction_bits - 1) if fraction_bits else 0
    q = (product + half) >> fraction_bits
    return q.clamp(-(2**31), 2**31 - 1)
