# Way: in numpy
def mse(x, y):
    if tuple(x.shape) != tuple(y.shape) or x.numel() == 0:
        raise ValueError("two tensors of one shape, with elements")
    difference = x.numpy().astype(np.float64) - y.numpy().astype(np.float64)
    return float(np.mean(difference**2))
