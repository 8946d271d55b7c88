# Mistake: maps a Python function over the list of elements
# Rule: there is no Python loop over the elements
def round_to_minifloat(x, exponent_bits, mantissa_bits):
    if not (1 <= exponent_bits <= 8 and 1 <= mantissa_bits <= 10):
        raise ValueError("bits")
    bias = 2 ** (exponent_bits - 1) - 1
    highest = max(2**exponent_bits - 2, 1) - bias
    largest = ((1 if exponent_bits > 1 else 0) + 1 - 2.0**-mantissa_bits) * 2.0**highest
    sizes = x.double().abs().clamp(max=2 * largest).flatten().tolist()
    powers = torch.tensor([e for _, e in map(math.frexp, sizes)], dtype=torch.float64).reshape(x.shape) - 1
    step = 2.0 ** (powers.clamp(1 - bias, highest) - mantissa_bits)
    return (torch.round(x.double() / step) * step).clamp(-largest, largest).float()
