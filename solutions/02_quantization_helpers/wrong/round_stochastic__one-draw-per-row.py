# Mistake: draws one random number per row
# Rule: each element has a random number of its own
def round_stochastic(x, step, generator):
    if not (math.isfinite(step) and step > 0):
        raise ValueError("step must be positive and finite")
    x = x.float()
    if not x.isfinite().all():
        raise ValueError("x contains NaN or infinity")
    position = x / step
    below = torch.floor(position)
    up = torch.rand((*x.shape[:-1], 1) if x.dim() > 1 else x.shape, generator=generator) < position - below
    return (below + up) * step
