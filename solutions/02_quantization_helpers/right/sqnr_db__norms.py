# Way: 20 log10 of a ratio of norms
def sqnr_db(x, y):
    if x.shape != y.shape:
        raise ValueError("different shapes")
    if not x.numel():
        raise ValueError("no elements")
    x, y = x.to(torch.float64), y.to(torch.float64)
    if torch.equal(x, y):
        return float("inf")
    if not x.any():
        return float("-inf")
    return 20 * math.log10(torch.linalg.vector_norm(x) / torch.linalg.vector_norm(x - y))
