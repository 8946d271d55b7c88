# Mistake: squares the mean difference, so that errors of opposite sign cancel
# Rule: mse is the mean of the squared differences
def mse(x, y):
    if x.shape != y.shape:
        raise ValueError("the shapes differ")
    if x.numel() == 0:
        raise ValueError("the mean of nothing is not defined")
    return (x.double() - y.double()).mean().square().item()
