# Way: without sorting everything: the k-th smallest values
def percentile_range(values, p):
    if p > 100 or p < 50:
        raise ValueError("p must lie in 50..100")
    flat = values.reshape(-1)
    count = flat.shape[0]
    if count == 0 or bool((~torch.isfinite(flat)).any()):
        raise ValueError("values must be finite and at least one")
    flat = flat.to(torch.float64)

    def at(position):
        k = int(position)
        here = flat.kthvalue(k + 1).values
        there = flat.kthvalue(min(k + 2, count)).values
        return torch.lerp(here, there, position - k).item()

    return at((count - 1) * (1 - p / 100)), at((count - 1) * p / 100)
