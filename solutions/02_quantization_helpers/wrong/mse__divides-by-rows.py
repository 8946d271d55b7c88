# Mistake: divides by the length of the first dimension
# Rule: mse is the mean of the squared differences
def mse(x, y):
    if x.shape != y.shape:
        raise ValueError(f"shapes {tuple(x.shape)} and {tuple(y.shape)} differ")
    if x.numel() == 0:
        raise ValueError("the mean of nothing is not defined")
    return (x.double() - y.double()).square().sum().item() / (len(x) if x.dim() else 1)
