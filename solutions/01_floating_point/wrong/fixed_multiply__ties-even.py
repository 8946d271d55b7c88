# Mistake: rounds ties to even
# Rule: it is rounded to nearest, and a tie goes up
def fixed_multiply(a, b, fraction_bits):
    if not 0 <= fraction_bits <= 31:
        raise ValueError("fraction_bits must lie in 0..31")
    product = a.long() * b.long()
    half = 2 ** (fraction_bits - 1) if fraction_bits else 0
    q = (product + half) >> fraction_bits
    if fraction_bits:
        tie = product % 2**fraction_bits == half
        q = torch.where(tie & (q % 2 == 1), q - 1, q)
    return q.clamp(-(2**31), 2**31 - 1)
