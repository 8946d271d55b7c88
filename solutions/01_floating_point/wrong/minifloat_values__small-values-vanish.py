# Mistake: adds up in float32 and loses what is small
# Rule: exponent field 0 means subnormal: f / 2^m times 2^(1 - bias)
def minifloat_values(exponent_bits, mantissa_bits):
    if not (1 <= exponent_bits <= 8 and 1 <= mantissa_bits <= 10):
        raise ValueError(f"no minifloat here has {exponent_bits} exponent and {mantissa_bits} mantissa bits")
    bias = 2 ** (exponent_bits - 1) - 1
    values = set()
    for field in range(2**exponent_bits - 1):  # the largest field is reserved
        for fraction in range(2**mantissa_bits):
            leading = 1 if field else 0
            value = (leading + fraction / 2**mantissa_bits) * 2.0 ** (max(field, 1) - bias)
            value = 0.0 if abs(value) < 2.0**-126 else value
            values |= {value, -value}
    return torch.tensor(sorted(values), dtype=torch.float32)
