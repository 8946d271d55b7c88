# Mistake: returns a tensor instead of a number
# Rule: the result is a Python float
def mse(x, y):
    if x.shape != y.shape:
        raise ValueError("the shapes differ")
    if x.numel() == 0:
        raise ValueError("the mean of nothing is not defined")
    return (x.double() - y.double()).square().mean()
