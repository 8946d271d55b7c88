# Mistake: sends halves to the even neighbour
# Rule: what lies halfway between two whole numbers is rounded up
def requantize(acc, multiplier, shift, rounding=True):
    product = acc.to(torch.int64) * multiplier
    down = product >> shift
    if not rounding or shift == 0:
        return down
    rest, half = product - (down << shift), 2 ** (shift - 1)
    return down + ((rest > half) | ((rest == half) & (down % 2 == 1))).long()
