# Way: a running mean
def mse(x, y):
    if x.size() != y.size() or 0 in x.size():
        raise ValueError("sizes")
    mean = 0.0
    for n, e in enumerate((x.to(torch.float64) - y.to(torch.float64)).ravel().tolist(), start=1):
        mean += (e * e - mean) / n
    return mean
