# Way: by search in a table of all values, and the distance to both neighbours
def round_to_minifloat(x, exponent_bits, mantissa_bits):
    if not (1 <= exponent_bits <= 8 and 1 <= mantissa_bits <= 10):
        raise ValueError("bits out of range")
    bias = 2 ** (exponent_bits - 1) - 1
    field = torch.arange(2**exponent_bits - 1).double()[:, None]
    fraction = torch.arange(2**mantissa_bits).double() / 2**mantissa_bits
    table = (((field > 0) + fraction) * 2.0 ** (field.clamp(min=1) - bias)).flatten()
    size = x.double().abs().clamp(max=table[-1].item())
    above = torch.searchsorted(table, size).clamp(0, len(table) - 1)
    below = (above - 1).clamp(min=0)
    to_above, to_below = table[above] - size, size - table[below]
    tie = torch.where(above % 2 == 0, above, below)
    index = torch.where(to_above < to_below, above, torch.where(to_below < to_above, below, tie))
    return torch.where(x.isnan(), x, torch.copysign(table[index], x.double()).float())
