# Mistake: sends halves away from zero
# Rule: what lies halfway between two whole numbers is rounded up
def requantize(acc, multiplier, shift, rounding=True):
    product = acc.to(torch.int64) * multiplier
    if not rounding or shift == 0:
        return product >> shift
    return torch.sign(product) * ((product.abs() + 2 ** (shift - 1)) >> shift)
