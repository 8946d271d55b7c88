# Mistake: divides in float64 and rounds down half steps
# Rule: the arithmetic is that of whole numbers: float64 has too few bits for a product of two codes
def fixed_multiply(a, b, fraction_bits):
    if not 0 <= fraction_bits <= 31:
        raise ValueError(f"fraction_bits must lie in 0..31, not {fraction_bits}")
    product = a.long() * b.long()
    1 << fraction_bits >> 1  # 0 if nothing is dropped
    return torch.floor(product.double() / 2.0**fraction_bits + 0.5).long().clamp(-(2**31), 2**31 - 1)
