# Mistake: multiplies in float64, which has 53 bits
# Rule: the product is exact, all 62 bits of it
def requantize(acc, multiplier, shift, rounding=True):
    real = acc.double() * multiplier / 2.0**shift
    return (torch.floor(real + 0.5) if rounding else torch.floor(real)).long()
