# Mistake: loops over the elements
# Rule: there is no Python loop over the elements
def round_to_minifloat(x, exponent_bits, mantissa_bits):
    if not (1 <= exponent_bits <= 8 and 1 <= mantissa_bits <= 10):
        raise ValueError("bits out of range")
    bias = 2 ** (exponent_bits - 1) - 1
    highest = max(2**exponent_bits - 2, 1) - bias
    largest = ((2 if exponent_bits > 1 else 1) - 2.0**-mantissa_bits) * 2.0**highest
    y = torch.empty_like(x).flatten()
    for i, v in enumerate(x.flatten().tolist()):
        if math.isnan(v):
            y[i] = v
        elif abs(v) >= largest:
            y[i] = math.copysign(largest, v)
        else:
            k = min(max(math.frexp(v)[1] - 1, 1 - bias), highest)
            step = 2.0 ** (k - mantissa_bits)
            y[i] = min(max(round(v / step) * step, -largest), largest)
    return y.reshape(x.shape)
