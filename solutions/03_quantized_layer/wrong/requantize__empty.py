# Mistake: fails for no accumulators
# Rule: the result is acc * multiplier / 2^shift, rounded to nearest
def requantize(acc, multiplier, shift, rounding=True):
    assert acc.abs().max() <= 2**31
    p = acc.long() * multiplier
    if rounding and shift:
        p = p + (1 << (shift - 1))
    return p >> shift
