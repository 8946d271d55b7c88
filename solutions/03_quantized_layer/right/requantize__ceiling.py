# Way: minus the floor of the negative
def requantize(acc, multiplier, shift, rounding=True):
    p = acc.long() * multiplier
    if not rounding:
        return p >> shift
    if shift == 0:
        return p
    return -((-p + 2 ** (shift - 1) - 1) >> shift)
