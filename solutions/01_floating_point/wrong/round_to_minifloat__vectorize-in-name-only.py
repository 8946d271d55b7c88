# Mistake: hides the loop in np.vectorize
# Rule: there is no Python loop over the elements
def round_to_minifloat(x, exponent_bits, mantissa_bits):
    if not (1 <= exponent_bits <= 8 and 1 <= mantissa_bits <= 10):
        raise ValueError("bits out of range")
    bias = 2 ** (exponent_bits - 1) - 1
    highest = max(2**exponent_bits - 2, 1) - bias
    largest = ((2 if exponent_bits > 1 else 1) - 2.0**-mantissa_bits) * 2.0**highest

    def one(v):
        if math.isnan(v):
            return v
        v = min(max(v, -largest), largest)
        step = 2.0 ** (min(max(math.frexp(v)[1] - 1, 1 - bias), highest) - mantissa_bits)
        return min(max(round(v / step) * step, -largest), largest)

    if x.numel() == 0:
        return x.clone()
    return torch.as_tensor(np.vectorize(one, otypes=[np.float64])(x.double().numpy())).float().reshape(x.shape)
