# Way: ldexp and rint in numpy
def to_fixed(x, integer_bits, fraction_bits):
    n = integer_bits + fraction_bits
    if not (integer_bits >= 1 and fraction_bits >= 0 and 2 <= n <= 32):
        raise ValueError("bits")
    v = x.numpy().astype(np.float64)
    if np.isnan(v).any():
        raise ValueError("NaN")
    codes = np.clip(np.rint(np.ldexp(v, fraction_bits)), -(2 ** (n - 1)), 2 ** (n - 1) - 1)
    return torch.as_tensor(codes.astype(np.int64)).reshape(x.shape)
