# Mistake: multiplies int32 tensors as they are
# Rule: int32 codes are multiplied in 64 bits
def fixed_multiply(a, b, fraction_bits):
    if not 0 <= fraction_bits <= 31:
        raise ValueError("fraction_bits must lie in 0..31")
    product = a * b
    half = 2 ** (fraction_bits - 1) if fraction_bits else 0
    q = (product + half) >> fraction_bits
    return q.clamp(-(2**31), 2**31 - 1)
