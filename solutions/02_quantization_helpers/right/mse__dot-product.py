# Way: as a dot product of the difference with itself
def mse(x, y):
    if x.shape != y.shape:
        raise ValueError("shapes")
    if len(x.reshape(-1)) == 0:
        raise ValueError("empty")
    difference = x.to(torch.float64).sub(y.to(torch.float64)).flatten()
    return float(torch.dot(difference, difference)) / difference.numel()
