# Mistake: goes to 64 bits only where the largest size asks for it
# Rule: int32 codes are multiplied in 64 bits
def fixed_multiply(a, b, fraction_bits):
    if not 0 <= fraction_bits <= 31:
        raise ValueError(f"fraction_bits must lie in 0..31, not {fraction_bits}")
    small = a.numel() == 0 or (a.abs().max() < 2**15 and b.abs().max() < 2**15)
    product = (a * b).long() if small else a.long() * b
    half = 1 << fraction_bits >> 1  # 0 if nothing is dropped
    return ((product + half) >> fraction_bits).clamp(-(2**31), 2**31 - 1)
