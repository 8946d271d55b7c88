# Mistake: reaches beyond the last value
# Rule: your code raised IndexError
def percentile_range(values, p):
    if not 50 <= p <= 100:
        raise ValueError(f"p must lie in 50..100, not {p}")
    if values.numel() == 0:
        raise ValueError("no values, no percentile")
    if not values.isfinite().all():
        raise ValueError("there is NaN or infinity among the values")
    ranked = values.flatten().double().sort().values
    bounds = []
    for share in (1 - p / 100, p / 100):
        position = (len(ranked) - 1) * share
        left = math.floor(position)
        here, there = ranked[left], ranked[left + 1]
        bounds.append((here + (position - left) * (there - here)).item())
    return bounds[0], bounds[1]
