# Way: fsum over Python numbers
def sqnr_db(x, y):
    if x.shape != y.shape:
        raise ValueError("shapes")
    a, b = x.double().flatten().tolist(), y.double().flatten().tolist()
    if len(a) == 0:
        raise ValueError("empty")
    signal, noise = math.fsum(v * v for v in a), math.fsum((v - w) ** 2 for v, w in zip(a, b, strict=True))
    if noise == 0.0:
        return math.inf
    return 20 * math.log10(math.sqrt(signal / noise)) if signal > 0 else -math.inf
