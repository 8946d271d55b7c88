# Mistake: accepts any number of bits
# Rule: a number of bits out of its range is refused
def minifloat_values(exponent_bits, mantissa_bits):
    mantissa_bits, exponent_bits = max(mantissa_bits, 0), max(exponent_bits, 1)
    bias = 2 ** (exponent_bits - 1) - 1
    values = []
    for field in range(2**exponent_bits - 1):
        for f in range(2**mantissa_bits):
            if field == 0:
                value = f / 2**mantissa_bits * 2.0 ** (1 - bias)
            else:
                value = (1 + f / 2**mantissa_bits) * 2.0 ** (field - bias)
            values.append(value)
    values = [-v for v in values[:0:-1]] + values
    return torch.tensor(values, dtype=torch.float32)
