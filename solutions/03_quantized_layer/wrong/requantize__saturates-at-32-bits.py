# Mistake: saturates the result at 32 bits
# Rule: the product is exact, all 62 bits of it
def requantize(acc, multiplier, shift, rounding=True):
    p = acc.long() * multiplier
    if rounding and shift:
        p = p + (1 << (shift - 1))
    return (p >> shift).clamp(-(2**31), 2**31 - 1)
