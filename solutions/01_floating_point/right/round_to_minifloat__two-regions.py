# Way: subnormal and normal elements apart
def round_to_minifloat(x, exponent_bits, mantissa_bits):
    if exponent_bits not in range(1, 9) or mantissa_bits not in range(1, 11):
        raise ValueError("bits")
    bias, y = 2 ** (exponent_bits - 1) - 1, x.to(torch.float64)
    small = 2.0 ** (1 - bias - mantissa_bits)
    subnormal = torch.round(y / small) * small
    if exponent_bits == 1:
        return subnormal.clamp(-(2**mantissa_bits - 1) * small, (2**mantissa_bits - 1) * small).float()
    largest = (2 - 2.0**-mantissa_bits) * 2.0**bias
    inside = y.clamp(-largest, largest)
    m, e = torch.frexp(inside)
    normal = torch.ldexp(torch.round(torch.ldexp(m, torch.tensor(mantissa_bits + 1))), e - mantissa_bits - 1)
    return torch.where(y.abs() < 2.0 ** (1 - bias), subnormal, normal.clamp(-largest, largest)).float()
