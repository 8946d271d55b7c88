# Mistake: adds one less than a half, so halves go down
# Rule: what lies halfway between two whole numbers is rounded up
def requantize(acc, multiplier, shift, rounding=True):
    product = acc.to(torch.int64) * multiplier
    if rounding and shift > 0:
        product = product + 2 ** (shift - 1) - 1
    return product >> shift
