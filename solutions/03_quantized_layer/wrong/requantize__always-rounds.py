# Mistake: ignores the argument rounding
# Rule: with rounding=False the result is rounded down
def requantize(acc, multiplier, shift, rounding=True):
    product = acc.to(torch.int64) * multiplier
    if shift > 0:
        product = product + 2 ** (shift - 1)
    return product >> shift
