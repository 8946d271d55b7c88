# Mistake: stores the values in float16
# Rule: a float32 tensor with one dimension
def minifloat_values(exponent_bits, mantissa_bits):
    if not (1 <= exponent_bits <= 8 and 1 <= mantissa_bits <= 10):
        raise ValueError("bits out of range")
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
    return torch.tensor(values, dtype=torch.float16)
