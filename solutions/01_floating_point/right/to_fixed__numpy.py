# Way: in numpy
def to_fixed(x, integer_bits, fraction_bits):
    n = integer_bits + fraction_bits
    if integer_bits not in range(1, 33) or fraction_bits not in range(32) or n not in range(2, 33):
        raise ValueError("bits out of range")
    v = x.numpy().astype(np.float64)
    if np.any(np.isnan(v)):
        raise ValueError("NaN has no code")
    codes = np.rint(np.ldexp(v, fraction_bits))
    codes = np.minimum(np.maximum(codes, -(2.0 ** (n - 1))), 2.0 ** (n - 1) - 1)
    return torch.as_tensor(codes.astype(np.int64)).reshape(x.shape)
