# Mistake: squares in float32
# Rule: the squares are taken in float64
def mse(x, y):
    if x.shape != y.shape:
        raise ValueError("the shapes differ")
    if x.numel() == 0:
        raise ValueError("the mean of nothing is not defined")
    return (x.float() - y.float()).square().mean().item()
