# Way: by a view of torch, whose whole number has a sign
def float32_fields(x):
    pattern = torch.tensor(x, dtype=torch.float32).view(torch.int32).item()
    sign = 1 if pattern < 0 else 0
    return sign, (pattern >> 23) % 256, pattern % 2**23
