# Mistake: adds the half to acc
# Rule: the product is exact, all 62 bits of it
def requantize(acc, multiplier, shift, rounding=True):
    a = acc.long()
    if rounding and shift:
        a = a + round(2 ** (shift - 1) / max(multiplier, 1))
    return (a * multiplier) >> shift
