# Mistake: computes in float32
# Rule: the arithmetic is that of whole numbers
def fixed_multiply(a, b, fraction_bits):
    if not 0 <= fraction_bits <= 31:
        raise ValueError("fraction_bits must lie in 0..31")
    product = a.float() * b.float()
    half = 2 ** (fraction_bits - 1) if fraction_bits else 0
    q = torch.floor((product + half) / 2**fraction_bits).double().long()
    return q.clamp(-(2**31), 2**31 - 1)
