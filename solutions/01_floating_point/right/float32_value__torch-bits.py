# Way: by a view of torch
def float32_value(sign, exponent, fraction):
    if not (0 <= sign < 2 and 0 <= exponent < 256 and 0 <= fraction < 8388608):
        raise ValueError("out of range")
    pattern = exponent * 8388608 + fraction
    size = torch.tensor(pattern, dtype=torch.int32).view(torch.float32).item()
    return -size if sign == 1 else size
