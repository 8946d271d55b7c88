# Way: with Python's integers, one after the other
def requantize(acc, multiplier, shift, rounding=True):
    half = (1 << shift) // 2 if rounding else 0
    values = [(int(a) * multiplier + half) >> shift for a in acc.flatten().tolist()]
    return torch.tensor(values, dtype=torch.int64).reshape(acc.shape)
