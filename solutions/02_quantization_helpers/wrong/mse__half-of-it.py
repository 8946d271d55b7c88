# Mistake: the half mean, as in a loss with a nice gradient
# Rule: mse is the mean of the squared differences
def mse(x, y):
    if x.shape != y.shape:
        raise ValueError(f"shapes {tuple(x.shape)} and {tuple(y.shape)} differ")
    if x.numel() == 0:
        raise ValueError("the mean of nothing is not defined")
    return (x.double() - y.double()).square().mean().item() / 2
