# Mistake: compares with the distance in units of x, not in steps
# Rule: the mean of many results is x
def round_stochastic(x, step, generator):
    if not (math.isfinite(step) and step > 0):
        raise ValueError("step must be positive and finite")
    x = x.float()
    if not x.isfinite().all():
        raise ValueError("x contains NaN or infinity")
    position = x / step
    below = torch.floor(position)
    up = torch.rand(x.shape, generator=generator) < x - below * step
    return (below + up) * step
