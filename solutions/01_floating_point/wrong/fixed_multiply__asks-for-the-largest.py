# Mistake: asks an empty tensor for its largest element
# Rule: int32 codes are multiplied in 64 bits
def fixed_multiply(a, b, fraction_bits):
    if not 0 <= fraction_bits <= 31:
        raise ValueError(f"fraction_bits must lie in 0..31, not {fraction_bits}")
    if a.abs().max() > 2**31:
        raise ValueError("too large")
    product = a.long() * b.long()
    half = 1 << fraction_bits >> 1  # 0 if nothing is dropped
    return ((product + half) >> fraction_bits).clamp(-(2**31), 2**31 - 1)
