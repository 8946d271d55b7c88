# Mistake: rounds x itself down
# Rule: x itself is not changed
def round_stochastic(x, step, generator):
    if not (math.isfinite(step) and step > 0):
        raise ValueError(f"step must be positive and finite, not {step}")
    x = x.float()
    if not x.isfinite().all():
        raise ValueError("x contains NaN or infinity")
    position = x / step
    below = torch.floor(position)
    x.div_(step).floor_().mul_(step)
    up = torch.rand(x.shape, generator=generator) < position - below
    return (below + up) * step
