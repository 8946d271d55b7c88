# Mistake: does not sort
# Rule: a percentile p stands at position (n - 1) p / 100
def percentile_range(values, p):
    if not 50 <= p <= 100:
        raise ValueError(f"p must lie in 50..100, not {p}")
    if values.numel() == 0:
        raise ValueError("no values, no percentile")
    if not values.isfinite().all():
        raise ValueError("there is NaN or infinity among the values")
    ranked = values.flatten().double()
    bounds = []
    for share in (1 - p / 100, p / 100):
        position = (len(ranked) - 1) * share
        left = math.floor(position)
        right = min(left + 1, len(ranked) - 1)
        bounds.append(float(ranked[left] + (position - left) * (ranked[right] - ranked[left])))
    return bounds[0], bounds[1]
