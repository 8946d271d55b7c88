# Mistake: calls the library's quantile
# Rule: is withheld in this lab
def percentile_range(values, p):
    if not 50 <= p <= 100:
        raise ValueError("p must lie in 50..100")
    if values.numel() == 0 or not values.isfinite().all():
        raise ValueError("no finite values")
    low, high = torch.quantile(values.double().flatten(), torch.tensor([1 - p / 100, p / 100], dtype=torch.float64))
    return float(low), float(high)
