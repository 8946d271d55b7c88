# Mistake: has torch round and saturate
# Rule: is withheld in this lab
def to_fixed(x, integer_bits, fraction_bits):
    bits = integer_bits + fraction_bits
    if integer_bits < 1 or fraction_bits < 0 or not 2 <= bits <= 32 or x.isnan().any():
        raise ValueError("bits out of range or NaN")
    step, half = 2.0**-fraction_bits, 2 ** (bits - 1)
    y = torch.fake_quantize_per_tensor_affine(x.float(), step, 0, -half, half - 1)
    return (y.double() / step).long()
