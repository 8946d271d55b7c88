# Mistake: shifts in two parts and loses low bits
# Rule: the result is acc * multiplier / 2^shift, rounded to nearest
def requantize(acc, multiplier, shift, rounding=True):
    product = (acc.to(torch.int64) * multiplier) >> (shift // 2)
    rest = shift - shift // 2
    if rounding and rest > 0:
        product = product + 2 ** (rest - 1)
    return (product >> (rest - 1)) >> 1 << 1 if rest else product
