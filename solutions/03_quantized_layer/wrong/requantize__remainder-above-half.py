# Mistake: rounds up when the remainder is more than half
# Rule: what lies halfway between two whole numbers is rounded up
def requantize(acc, multiplier, shift, rounding=True):
    p = acc.long() * multiplier
    q = p >> shift
    if rounding:
        q = q + ((p - (q << shift)) * 2 > (1 << shift)).long()
    return q
