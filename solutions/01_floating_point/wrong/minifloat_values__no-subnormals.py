# Mistake: gives field 0 a leading 1
# Rule: exponent field 0 means subnormal
def minifloat_values(exponent_bits, mantissa_bits):
    if not (1 <= exponent_bits <= 8 and 1 <= mantissa_bits <= 10):
        raise ValueError("bits out of range")
    bias = 2 ** (exponent_bits - 1) - 1
    values = []
    for field in range(2**exponent_bits - 1):
        for f in range(2**mantissa_bits):
            if field == 0:
                value = (1 + f / 2**mantissa_bits) * 2.0**-bias if f else 0.0
            else:
                value = (1 + f / 2**mantissa_bits) * 2.0 ** (field - bias)
            values.append(value)
    values = [-v for v in values[:0:-1]] + values
    return torch.tensor(values, dtype=torch.float32)
