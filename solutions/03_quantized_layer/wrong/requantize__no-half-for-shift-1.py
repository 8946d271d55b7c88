# Mistake: rounds for shift 2 and more only
# Rule: the product is exact, all 62 bits of it
def requantize(acc, multiplier, shift, rounding=True):
    p = acc.long() * multiplier
    if rounding and shift > 1:
        p = p + (1 << (shift - 1))
    return p >> shift
