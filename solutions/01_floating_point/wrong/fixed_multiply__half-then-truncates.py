# Mistake: adds half and divides toward zero
# Rule: the code of the product is a * b
def fixed_multiply(a, b, fraction_bits):
    if not 0 <= fraction_bits <= 31:
        raise ValueError("fraction_bits must lie in 0..31")
    product = a.long() * b.long()
    half = 2 ** (fraction_bits - 1) if fraction_bits else 0
    q = torch.div(product + half, 2**fraction_bits, rounding_mode="trunc")
    return q.clamp(-(2**31), 2**31 - 1)
