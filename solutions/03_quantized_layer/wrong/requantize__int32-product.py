# Mistake: multiplies in the accumulators' own dtype
# Rule: int32 accumulators are converted before the product
def requantize(acc, multiplier, shift, rounding=True):
    product = (acc * multiplier).to(torch.int64)
    if rounding and shift > 0:
        product = product + 2 ** (shift - 1)
    return product >> shift
