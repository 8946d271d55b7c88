# Way: searches the middles between the codes
def round_to_minifloat(x, exponent_bits, mantissa_bits):
    if not (0 < exponent_bits <= 8 and 0 < mantissa_bits <= 10):
        raise ValueError("bits")
    code = torch.arange((2**exponent_bits - 1) * 2**mantissa_bits)
    field, f = code // 2**mantissa_bits, code % 2**mantissa_bits
    whole = (f + torch.where(field > 0, 2**mantissa_bits, 0)).double()
    held = torch.ldexp(whole, field.clamp(min=1) - (2 ** (exponent_bits - 1) - 1) - mantissa_bits)
    middles = (held[1:] + held[:-1]) / 2
    size = x.double().abs().contiguous()
    low, high = torch.searchsorted(middles, size), torch.searchsorted(middles, size, right=True)
    y = held[torch.where(low % 2 == 0, low, high).clamp(max=len(held) - 1)]
    return torch.where(x.isnan(), math.nan, torch.copysign(y, x.double())).float()
