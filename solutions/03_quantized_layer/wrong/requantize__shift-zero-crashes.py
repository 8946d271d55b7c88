# Mistake: adds half of the divisor for shift 0, too
# Rule: with shift 0 the result is acc * multiplier
def requantize(acc, multiplier, shift, rounding=True):
    product = acc.to(torch.int64) * multiplier
    if rounding:
        product = product + (1 << (shift - 1))
    return product >> shift
