# Way: shifts, then adds the last bit that was dropped
def requantize(acc, multiplier, shift, rounding=True):
    product = acc.type(torch.int64).mul(multiplier)
    if not rounding or shift == 0:
        return torch.bitwise_right_shift(product, shift)
    return (product >> shift) + ((product >> (shift - 1)) & 1)
