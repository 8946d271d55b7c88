# Mistake: goes through the first dimension
# Rule: the result is acc * multiplier / 2^shift, rounded to nearest
def requantize(acc, multiplier, shift, rounding=True):
    out = []
    for a in acc.tolist():
        p = a * multiplier + ((1 << shift >> 1) if rounding else 0)
        out.append(p >> shift)
    return torch.tensor(out, dtype=torch.int64)
