# Mistake: returns a flat tensor
# Rule: the result is acc * multiplier / 2^shift
def requantize(acc, multiplier, shift, rounding=True):
    product = acc.to(torch.int64) * multiplier
    if rounding and shift > 0:
        product = product + 2 ** (shift - 1)
    return (product >> shift).flatten()
