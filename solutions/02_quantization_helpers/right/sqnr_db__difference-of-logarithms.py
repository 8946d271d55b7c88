# Way: two logarithms
def sqnr_db(x, y):
    if x.shape != y.shape or x.numel() == 0:
        raise ValueError("shapes")
    signal, noise = float((x.double() ** 2).sum()), float(((x.double() - y.double()) ** 2).sum())
    if noise == 0:
        return float("inf")
    return 10 * (math.log10(signal) - math.log10(noise)) if signal else float("-inf")
