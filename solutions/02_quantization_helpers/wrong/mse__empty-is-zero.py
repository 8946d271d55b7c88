# Mistake: the mean of nothing is 0.0
# Rule: empty tensors are refused with a ValueError
def mse(x, y):
    if x.shape != y.shape:
        raise ValueError(f"shapes {tuple(x.shape)} and {tuple(y.shape)} differ")
    if x.numel() == 0:
        return 0.0
    return (x.double() - y.double()).square().mean().item()
