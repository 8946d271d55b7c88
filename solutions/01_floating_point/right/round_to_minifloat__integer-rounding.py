# Way: by rounding the bit pattern of float64 as a whole number
def round_to_minifloat(x, exponent_bits, mantissa_bits):
    if not 1 <= exponent_bits <= 8 or not 1 <= mantissa_bits <= 10:
        raise ValueError("bits out of range")
    bias = 2 ** (exponent_bits - 1) - 1
    size = x.double().abs()
    drop = 52 - mantissa_bits
    pattern = size.view(torch.int64)
    odd = (pattern >> drop) & 1
    normal = (((pattern + (1 << (drop - 1)) - 1 + odd) >> drop) << drop).view(torch.float64)
    unit = 2.0 ** (1 - bias - mantissa_bits)
    small = torch.round(size / unit) * unit
    rounded = torch.where(size < 2.0 ** (1 - bias), small, normal)
    if exponent_bits == 1:
        rounded = small
        largest = 2.0 - 2.0 * 0.5**mantissa_bits
    else:
        largest = (2.0 - 0.5**mantissa_bits) * 2.0**bias
    rounded = torch.where(rounded > largest, largest, rounded)
    return torch.where(x.isnan(), x, (rounded * torch.sign(x)).float())
