# Mistake: rounds ties away from zero
# Rule: it is rounded to nearest, and a tie goes up
def fixed_multiply(a, b, fraction_bits):
    if not 0 <= fraction_bits <= 31:
        raise ValueError("fraction_bits must lie in 0..31")
    product = a.long() * b.long()
    half = 2 ** (fraction_bits - 1) if fraction_bits else 0
    q = torch.sign(product) * ((product.abs() + half) >> fraction_bits)
    return q.clamp(-(2**31), 2**31 - 1)
