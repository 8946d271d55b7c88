# Mistake: views acc as a row
# Rule: the result is acc * multiplier / 2^shift, rounded to nearest
def requantize(acc, multiplier, shift, rounding=True):
    p = acc.view(-1).long() * multiplier
    if rounding and shift:
        p = p + (1 << (shift - 1))
    return (p >> shift).view(acc.shape)
