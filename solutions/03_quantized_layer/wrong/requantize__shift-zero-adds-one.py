# Mistake: adds at least 1 before the shift
# Rule: with shift 0 the result is acc * multiplier
def requantize(acc, multiplier, shift, rounding=True):
    product = acc.to(torch.int64) * multiplier
    if rounding:
        product = product + max(2**shift // 2, 1)
    return product >> shift
