# Mistake: flattens by view, which a transposed tensor refuses
# Rule: x may have any shape, an empty one too, and lie in memory in any order
def round_stochastic(x, step, generator):
    if not (math.isfinite(step) and step > 0):
        raise ValueError(f"step must be positive and finite, not {step}")
    shape, x = x.shape, x.float().view(-1)
    if not x.isfinite().all():
        raise ValueError("x contains NaN or infinity")
    position = x / step
    below = torch.floor(position)
    up = torch.rand(x.shape, generator=generator) < position - below
    return ((below + up) * step).view(shape)
