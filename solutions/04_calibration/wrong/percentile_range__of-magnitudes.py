# Mistake: takes the percentile of the magnitudes, for both signs
# Rule: a percentile p stands at position (n - 1) p / 100
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
        right = min(left + 1, len(ranked) - 1)
        bounds.append(float(ranked[left] + (position - left) * (ranked[right] - ranked[left])))
    sizes = ranked.abs().sort().values
    place = (len(sizes) - 1) * p / 100
    top = float(sizes[round(place)])
    return -top, top
