# Way: with a logarithm, in numpy
def round_to_minifloat(x, exponent_bits, mantissa_bits):
    if exponent_bits not in range(1, 9) or mantissa_bits not in range(1, 11):
        raise ValueError("bits out of range")
    v = x.numpy().astype(np.float64)
    bias = 2 ** (exponent_bits - 1) - 1
    last = 2**exponent_bits - 2
    largest = 2.0 ** (last - bias) * (2 - 0.5**mantissa_bits) if last else 2.0 * (1 - 0.5**mantissa_bits)
    v = np.clip(v, -largest, largest)
    with np.errstate(divide="ignore"):
        k = np.floor(np.log2(np.abs(v)))
    k = np.maximum(k, 1 - bias)
    step = np.exp2(k - mantissa_bits)
    return torch.as_tensor(np.rint(v / step) * step).clamp(-largest, largest).float()
