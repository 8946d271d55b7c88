# Mistake: float64 for long shifts only
# Rule: the product is exact, all 62 bits of it
def requantize(acc, multiplier, shift, rounding=True):
    if shift >= 60:
        v = acc.double() * multiplier / 2.0**shift
        return torch.floor(v + 0.5 if rounding else v).long()
    p = acc.long() * multiplier
    if rounding and shift:
        p = p + (1 << (shift - 1))
    return p >> shift
