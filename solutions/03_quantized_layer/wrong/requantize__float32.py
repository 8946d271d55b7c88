# Mistake: multiplies by the real factor in float32
# Rule: the product is exact, all 62 bits of it
def requantize(acc, multiplier, shift, rounding=True):
    real = acc.float() * (multiplier / 2**shift)
    return (torch.floor(real + 0.5) if rounding else torch.floor(real)).long()
