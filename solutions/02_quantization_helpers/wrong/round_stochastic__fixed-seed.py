# Mistake: seeds a generator of its own
# Rule: another seed gives another result
def round_stochastic(x, step, generator):
    if not (math.isfinite(step) and step > 0):
        raise ValueError("step must be positive and finite")
    x = x.float()
    if not x.isfinite().all():
        raise ValueError("x contains NaN or infinity")
    position = x / step
    below = torch.floor(position)
    up = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < position - below
    return (below + up) * step
