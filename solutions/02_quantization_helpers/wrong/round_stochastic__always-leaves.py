# Mistake: moves a multiple of the step half of the time
# Rule: a multiple of step stays what it is
def round_stochastic(x, step, generator):
    if not (math.isfinite(step) and step > 0):
        raise ValueError("step must be positive and finite")
    x = x.float()
    if not x.isfinite().all():
        raise ValueError("x contains NaN or infinity")
    position = x / step
    below = torch.floor(position)
    up = torch.rand(x.shape, generator=generator) < torch.where(position == below, 0.5, position - below)
    return (below + up) * step
