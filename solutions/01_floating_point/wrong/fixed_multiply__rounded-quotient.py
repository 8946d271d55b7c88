# Mistake: divides real numbers and rounds ties to even
# Rule: it is rounded to nearest, and a tie goes up
def fixed_multiply(a, b, fraction_bits):
    if not 0 <= fraction_bits <= 31:
        raise ValueError("fraction_bits must lie in 0..31")
    q = torch.round(a.double() * b.double() / 2**fraction_bits)
    return q.clamp(-(2**31), 2**31 - 1).long()
