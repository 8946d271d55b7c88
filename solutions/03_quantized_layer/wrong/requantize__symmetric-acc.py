# Mistake: keeps acc within +-(2^31 - 1)
# Rule: the product is exact, all 62 bits of it
def requantize(acc, multiplier, shift, rounding=True):
    p = acc.long().clamp(-(2**31) + 1, 2**31 - 1) * multiplier
    if rounding and shift:
        p = p + (1 << (shift - 1))
    return p >> shift
