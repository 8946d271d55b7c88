# Way: torch, with the sign bit of int32 masked
def float32_fields(x):
    pattern = torch.tensor([x], dtype=torch.float64).float().view(torch.int32).long()
    sign, exponent, fraction = pattern >> 31 & 1, pattern >> 23 & 255, pattern & 2**23 - 1
    return sign.item(), exponent.item(), fraction.item()
