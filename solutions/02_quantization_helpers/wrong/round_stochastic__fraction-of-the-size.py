# Mistake: takes the fraction of the size for negative numbers too
# Rule: the mean of many results is x
def round_stochastic(x, step, generator):
    if not (math.isfinite(step) and step > 0):
        raise ValueError(f"step must be positive and finite, not {step}")
    x = x.float()
    if not x.isfinite().all():
        raise ValueError("x contains NaN or infinity")
    position = x / step
    below = torch.floor(position)
    fraction = position.abs() - position.abs().floor()
    up = torch.rand(x.shape, generator=generator) < fraction
    return (below + up) * step
