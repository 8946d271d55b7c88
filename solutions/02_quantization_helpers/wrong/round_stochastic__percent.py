# Mistake: draws whole percents
# Rule: the mean of many results is x
def round_stochastic(x, step, generator):
    if not (math.isfinite(step) and step > 0):
        raise ValueError(f"step must be positive and finite, not {step}")
    x = x.float()
    if not x.isfinite().all():
        raise ValueError("x contains NaN or infinity")
    position = x / step
    below = torch.floor(position)
    up = torch.randint(0, 10, x.shape, generator=generator) / 10 < position - below
    return (below + up) * step
