# Way: as a table of fields and fractions in torch
def minifloat_values(exponent_bits, mantissa_bits):
    if exponent_bits not in range(1, 9) or mantissa_bits not in range(1, 11):
        raise ValueError("bits out of range")
    bias = (1 << (exponent_bits - 1)) - 1
    field = torch.arange(2**exponent_bits - 1, dtype=torch.float64)[:, None]
    fraction = torch.arange(2**mantissa_bits, dtype=torch.float64)[None, :] / 2**mantissa_bits
    positive = ((field > 0) + fraction) * 2.0 ** (field.clamp(min=1) - bias)
    return torch.cat([positive.flatten(), -positive.flatten()]).unique().float()
