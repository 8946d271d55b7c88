# Mistake: subtracts before converting
# Rule: the difference is taken in float64, too
def mse(x, y):
    if x.shape != y.shape:
        raise ValueError(f"shapes {tuple(x.shape)} and {tuple(y.shape)} differ")
    if x.numel() == 0:
        raise ValueError("the mean of nothing is not defined")
    return (x.float() - y.float()).double().square().mean().item()
