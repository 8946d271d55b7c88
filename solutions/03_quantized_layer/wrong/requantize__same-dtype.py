# Mistake: returns acc's own dtype
# Rule: the result is an int64 tensor
def requantize(acc, multiplier, shift, rounding=True):
    p = acc.long() * multiplier
    if rounding and shift:
        p = p + (1 << (shift - 1))
    return (p >> shift).to(acc.dtype)
