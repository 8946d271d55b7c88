# Way: with torch's logarithm of a sum of exponentials
def harmonic_sqnr(ratios):
    finite = torch.tensor([r for r in ratios if math.isfinite(r)], dtype=torch.float64)
    if len(finite) == 0:
        return math.inf
    unit = math.log(10) / 10
    return float(-torch.logsumexp(-finite * unit, dim=0)) / unit
