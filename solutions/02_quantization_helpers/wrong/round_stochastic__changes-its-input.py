# Mistake: divides x in place
# Rule: x itself is not changed
def round_stochastic(x, step, generator):
    if not (math.isfinite(step) and step > 0):
        raise ValueError("step must be positive and finite")
    x = x.float()
    if not x.isfinite().all():
        raise ValueError("x contains NaN or infinity")
    position = x.div_(step)
    below = torch.floor(position)
    up = torch.rand(x.shape, generator=generator) < position - below
    return (below + up) * step
