# Way: numpy, with its own infinities
def sqnr_db(x, y):
    if tuple(x.shape) != tuple(y.shape) or x.numel() == 0:
        raise ValueError("shapes")
    a, b = x.numpy().astype(np.float64), y.numpy().astype(np.float64)
    noise = np.mean((a - b) ** 2)
    if noise == 0:
        return math.inf
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(np.mean(a**2) / noise))
