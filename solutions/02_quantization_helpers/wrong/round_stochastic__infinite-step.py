# Mistake: refuses only steps that are not positive
# Rule: a step that is not positive and finite is refused with a ValueError
def round_stochastic(x, step, generator):
    if not step > 0:
        raise ValueError(f"step must be positive and finite, not {step}")
    x = x.float()
    if not x.isfinite().all():
        raise ValueError("x contains NaN or infinity")
    position = x / step
    below = torch.floor(position)
    up = torch.rand(x.shape, generator=generator) < position - below
    return (below + up) * step
