# Mistake: saturates to 8 bits, which is the layer's business
# Rule: the result is acc * multiplier / 2^shift, rounded to nearest
def requantize(acc, multiplier, shift, rounding=True):
    product = acc.to(torch.int64) * multiplier
    if rounding and shift > 0:
        product = product + 2 ** (shift - 1)
    return (product >> shift).clamp(0, 255)
