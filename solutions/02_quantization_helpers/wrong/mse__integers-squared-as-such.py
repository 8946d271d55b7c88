# Mistake: squares whole numbers in int64
# Rule: integers are converted before the subtraction
def mse(x, y):
    if x.shape != y.shape:
        raise ValueError(f"shapes {tuple(x.shape)} and {tuple(y.shape)} differ")
    if x.numel() == 0:
        raise ValueError("the mean of nothing is not defined")
    if not x.is_floating_point() and not y.is_floating_point():
        return (x.long() - y.long()).square().double().mean().item()
    return (x.double() - y.double()).square().mean().item()
