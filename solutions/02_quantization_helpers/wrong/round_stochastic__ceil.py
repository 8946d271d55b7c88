# Mistake: counts from the multiple above, ceil(x) - 1, which moves a multiple down
# Rule: a multiple of step stays what it is
def round_stochastic(x, step, generator):
    if not (math.isfinite(step) and step > 0):
        raise ValueError("step must be positive and finite")
    x = x.float()
    if not x.isfinite().all():
        raise ValueError("x contains NaN or infinity")
    position = x / step
    below = torch.ceil(position) - 1
    up = torch.rand(x.shape, generator=generator) <= torch.frac(position - below)
    return (below + up) * step
