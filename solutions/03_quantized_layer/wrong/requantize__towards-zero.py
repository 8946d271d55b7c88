# Mistake: divides with truncation towards zero when not rounding
# Rule: with rounding=False the result is rounded down
def requantize(acc, multiplier, shift, rounding=True):
    product = acc.to(torch.int64) * multiplier
    if rounding and shift > 0:
        product = product + 2 ** (shift - 1)
    return product >> shift if rounding else torch.div(product, 2**shift, rounding_mode="trunc")
