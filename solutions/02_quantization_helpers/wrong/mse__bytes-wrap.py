# Mistake: subtracts before it converts
# Rule: the difference is taken in float64, too
def mse(x, y):
    if x.shape != y.shape:
        raise ValueError("the shapes differ")
    if x.numel() == 0:
        raise ValueError("the mean of nothing is not defined")
    return (x - y).double().square().mean().item()
