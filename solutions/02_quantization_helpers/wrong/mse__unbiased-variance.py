# Mistake: takes the variance of the difference, which ignores a constant shift
# Rule: mse is the mean of the squared differences
def mse(x, y):
    if x.shape != y.shape:
        raise ValueError("the shapes differ")
    if x.numel() == 0:
        raise ValueError("the mean of nothing is not defined")
    return (x.double() - y.double()).var().item()
