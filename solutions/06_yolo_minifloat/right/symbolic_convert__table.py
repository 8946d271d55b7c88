# Way: finds each element's place among all values
def symbolic_convert(value, word_length, exponent_bits):
    mantissa_bits = word_length - 1 - exponent_bits
    if exponent_bits not in range(1, 8) or mantissa_bits < 1 or word_length > 16:
        raise ValueError("bits out of range")
    codes = torch.arange((2**exponent_bits - 1) * 2**mantissa_bits)
    field, fraction = codes >> mantissa_bits, codes & (2**mantissa_bits - 1)
    bias = 2 ** (exponent_bits - 1) - 1
    whole = torch.where(field > 0, fraction + 2**mantissa_bits, fraction)
    table = torch.ldexp(whole.double(), field.clamp(min=1) - bias - mantissa_bits)
    middles = (table[1:] + table[:-1]) / 2
    size = value.double().abs().nan_to_num(nan=0.0, posinf=float(table[-1]))
    low, high = torch.bucketize(size, middles), torch.bucketize(size, middles, right=True)
    code = torch.where(low == high, low, low + low % 2)
    result = (table[code] * torch.sign(value)).float()
    return torch.where(value.isnan(), value, result)
