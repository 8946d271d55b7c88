# Way: torch.div with floor
def requantize(acc, multiplier, shift, rounding=True):
    p = acc.to(torch.int64) * multiplier
    if rounding:
        p = p + (2**shift) // 2
    return torch.div(p, 2**shift, rounding_mode="floor")
