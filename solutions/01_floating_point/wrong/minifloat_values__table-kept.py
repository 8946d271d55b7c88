# Mistake: keeps the table of the first format with this many bits
# Rule: all finite values are there, of both signs
def minifloat_values(exponent_bits, mantissa_bits):
    if not (1 <= exponent_bits <= 8 and 1 <= mantissa_bits <= 10):
        raise ValueError(f"no minifloat here has {exponent_bits} exponent and {mantissa_bits} mantissa bits")
    bias = 2 ** (exponent_bits - 1) - 1
    kept = minifloat_values.__dict__.setdefault("kept", {})
    values = kept.setdefault(exponent_bits + mantissa_bits, set())
    for field in range(2**exponent_bits - 1):  # the largest field is reserved
        for fraction in range(2**mantissa_bits):
            leading = 1 if field else 0
            value = (leading + fraction / 2**mantissa_bits) * 2.0 ** (max(field, 1) - bias)
            values |= {value, -value}
    return torch.tensor(sorted(values), dtype=torch.float32)
