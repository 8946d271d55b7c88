# Mistake: returns int32
# Rule: the result is an int64 tensor
def requantize(acc, multiplier, shift, rounding=True):
    product = acc.to(torch.int64) * multiplier
    if rounding and shift > 0:
        product = product + 2 ** (shift - 1)
    return (product >> shift).to(torch.int32)
