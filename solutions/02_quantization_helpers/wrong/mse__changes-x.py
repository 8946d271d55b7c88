# Mistake: subtracts y from x itself
# Rule: x and y are not changed
def mse(x, y):
    if x.shape != y.shape:
        raise ValueError(f"shapes {tuple(x.shape)} and {tuple(y.shape)} differ")
    if x.numel() == 0:
        raise ValueError("the mean of nothing is not defined")
    if x.dtype == y.dtype == torch.float32:
        x -= y
        return x.double().square().mean().item()
    return (x.double() - y.double()).square().mean().item()
