# Way: in two words of 32 bits, numpy
def requantize(acc, multiplier, shift, rounding=True):
    a = acc.numpy().astype(object)
    p = a * multiplier
    if rounding and shift:
        p = p + (1 << (shift - 1))
    return torch.from_numpy(np.asarray(p // (1 << shift), dtype=object).astype(np.int64).reshape(acc.shape))
