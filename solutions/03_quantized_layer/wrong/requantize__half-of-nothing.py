# Mistake: half of 1 is the real number 0.5, which no >> can shift
# Rule: with shift 0 the result is acc * multiplier
def requantize(acc, multiplier, shift, rounding=True):
    product = acc.to(torch.int64) * multiplier
    if rounding:
        product = product + 2 ** (shift - 1)
    return product >> shift
