# Way: plain Python numbers and math.fsum
def mse(x, y):
    if x.shape != y.shape or not x.numel():
        raise ValueError("shapes differ or nothing to compare")
    pairs = zip(x.flatten().tolist(), y.flatten().tolist(), strict=True)
    return math.fsum((a - b) ** 2 for a, b in pairs) / x.numel()
