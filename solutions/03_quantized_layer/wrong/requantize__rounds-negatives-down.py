# Mistake: rounds the magnitude half up, drops for negative ones
# Rule: what lies halfway between two whole numbers is rounded up
def requantize(acc, multiplier, shift, rounding=True):
    p = acc.long() * multiplier
    if rounding and shift:
        p = torch.where(p > 0, p + (1 << (shift - 1)), p + (1 << (shift - 1)) - 1)
    return p >> shift
