# Mistake: needs at least one dimension
# Rule: x may have any shape, an empty one too, and lie in memory in any order
def round_stochastic(x, step, generator):
    if not (math.isfinite(step) and step > 0):
        raise ValueError(f"step must be positive and finite, not {step}")
    x = x.float()
    if not x.isfinite().all():
        raise ValueError("x contains NaN or infinity")
    position = x / step
    below = torch.floor(position)
    up = torch.rand(len(x), *x.shape[1:], generator=generator) < position - below
    return (below + up) * step
