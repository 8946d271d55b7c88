# Way: numpy with frexp and rint
def round_to_minifloat(x, exponent_bits, mantissa_bits):
    if not 1 <= exponent_bits <= 8 or not 1 <= mantissa_bits <= 10:
        raise ValueError("bits")
    v = x.numpy().astype(np.float64)
    bias = 2 ** (exponent_bits - 1) - 1
    top = 2 - 2.0 ** (1 - mantissa_bits) if exponent_bits == 1 else (2 - 2.0**-mantissa_bits) * 2.0**bias
    v = np.clip(v, -top, top)
    power = np.maximum(np.frexp(v)[1] - 1, 1 - bias)
    step = np.ldexp(1.0, power - mantissa_bits)
    return torch.tensor(np.clip(np.rint(v / step) * step, -top, top), dtype=torch.float32).reshape(x.shape)
