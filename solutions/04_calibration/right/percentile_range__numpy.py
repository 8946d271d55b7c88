# Way: in numpy, with a weighted mean of the neighbours
def percentile_range(values, p):
    if not (p >= 50 and p <= 100):
        raise ValueError("p must lie in 50..100")
    ranked = np.sort(values.double().numpy(), axis=None)
    if ranked.size == 0 or not np.all(np.isfinite(ranked)):
        raise ValueError("only finite values have percentiles")
    positions = (ranked.size - 1) * np.array([100 - p, p]) / 100
    left = np.floor(positions).astype(int)
    right = np.ceil(positions).astype(int)
    part = positions - left
    low, high = (1 - part) * ranked[left] + part * ranked[right]
    return float(low), float(high)
