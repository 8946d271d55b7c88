# Mistake: rounds the upper half first, as gemmlowp does
# Rule: the result is acc * multiplier / 2^shift, rounded to nearest
def requantize(acc, multiplier, shift, rounding=True):
    product = acc.to(torch.int64) * multiplier
    if not rounding or shift < 32:
        return (product + (2 ** (shift - 1) if rounding and shift else 0)) >> shift
    high = (product + 2**30) >> 31
    return (high + 2 ** (shift - 32)) >> (shift - 31)
