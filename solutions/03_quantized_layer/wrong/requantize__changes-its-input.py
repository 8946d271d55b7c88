# Mistake: multiplies in place
# Rule: acc itself is not changed
def requantize(acc, multiplier, shift, rounding=True):
    product = acc if acc.dtype == torch.int64 else acc.long()
    product *= multiplier
    if rounding and shift > 0:
        product = product + 2 ** (shift - 1)
    return product >> shift
