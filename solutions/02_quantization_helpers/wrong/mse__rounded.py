# Mistake: rounds to eight digits
# Rule: small differences do not vanish: the squares are taken in float64
def mse(x, y):
    if x.shape != y.shape:
        raise ValueError(f"shapes {tuple(x.shape)} and {tuple(y.shape)} differ")
    if x.numel() == 0:
        raise ValueError("the mean of nothing is not defined")
    return round((x.double() - y.double()).square().mean().item(), 8)
