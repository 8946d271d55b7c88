# Way: by the distance to the nearest grid point
def mse_range(histogram, num_bits=8):
    counts, edges = histogram
    used = counts > 0
    if not used.any():
        raise ValueError("no values")
    weights = counts[used].double() / counts.sum()
    c = ((edges[:-1] + edges[1:]) / 2)[used]
    a, b = min(0.0, edges[0].item()), max(0.0, edges[-1].item())
    results = []
    for k in range(1, 101):
        scalefactor, zeropoint = scale_and_zeropoint(a * k / 100, b * k / 100, num_bits)
        first, last = -zeropoint * scalefactor, (2**num_bits - 1 - zeropoint) * scalefactor
        inside = torch.clamp(c, first, last)
        nearest = torch.round(inside / scalefactor) * scalefactor
        results.append((torch.sum(weights * (c - nearest) ** 2).item(), a * k / 100, b * k / 100))
    _, low, high = min(results)
    return low, high
