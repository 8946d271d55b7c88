# Way: codes as a tensor, powers by ldexp
def minifloat_values(exponent_bits, mantissa_bits):
    if exponent_bits not in range(1, 9) or mantissa_bits not in range(1, 11):
        raise ValueError("bits")
    code = torch.arange((2**exponent_bits - 1) << mantissa_bits)
    field, fraction = code >> mantissa_bits, code & (1 << mantissa_bits) - 1
    whole = fraction + (field > 0) * 2**mantissa_bits
    power = field.clamp(min=1) - (2 ** (exponent_bits - 1) - 1) - mantissa_bits
    values = torch.ldexp(whole.double(), power)
    return torch.cat([-values.flip(0), values[1:]]).float()
