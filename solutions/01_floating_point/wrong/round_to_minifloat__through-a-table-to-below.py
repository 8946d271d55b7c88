# Mistake: looks the value below up in the table
# Rule: every element goes to the nearest value
def round_to_minifloat(x, exponent_bits, mantissa_bits):
    if not (1 <= exponent_bits <= 8 and 1 <= mantissa_bits <= 10):
        raise ValueError("bits out of range")
    bias = 2 ** (exponent_bits - 1) - 1
    field = torch.arange(2**exponent_bits - 1).double()[:, None]
    fraction = torch.arange(2**mantissa_bits).double() / 2**mantissa_bits
    table = (((field > 0) + fraction) * 2.0 ** (field.clamp(min=1) - bias)).flatten()
    index = (torch.searchsorted(table, x.double().abs(), right=True) - 1).clamp(0, len(table) - 1)
    return torch.where(x.isnan(), x, (torch.sign(x) * table[index]).float())
