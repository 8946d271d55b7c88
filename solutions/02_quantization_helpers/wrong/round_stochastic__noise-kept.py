# Mistake: keeps its random numbers from call to call
# Rule: another seed gives another result
def round_stochastic(x, step, generator):
    if not (math.isfinite(step) and step > 0):
        raise ValueError(f"step must be positive and finite, not {step}")
    x = x.float()
    if not x.isfinite().all():
        raise ValueError("x contains NaN or infinity")
    position = x / step
    below = torch.floor(position)
    kept = round_stochastic.__dict__.setdefault("noise", {})
    if x.shape not in kept:
        kept[x.shape] = torch.rand(x.shape, generator=generator)
    up = kept[x.shape] < position - below
    return (below + up) * step
