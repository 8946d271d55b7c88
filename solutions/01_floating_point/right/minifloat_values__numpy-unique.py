# Way: numpy, made unique at the end
def minifloat_values(exponent_bits, mantissa_bits):
    if exponent_bits < 1 or exponent_bits > 8 or mantissa_bits < 1 or mantissa_bits > 10:
        raise ValueError("bits")
    bias = 2 ** (exponent_bits - 1) - 1
    f = np.arange(2**mantissa_bits) / 2**mantissa_bits
    rows = [f * 2.0 ** (1 - bias)] + [(1 + f) * 2.0 ** (e - bias) for e in range(1, 2**exponent_bits - 1)]
    return torch.from_numpy(np.unique(np.concatenate([s * r for r in rows for s in (1, -1)]))).to(torch.float32)
