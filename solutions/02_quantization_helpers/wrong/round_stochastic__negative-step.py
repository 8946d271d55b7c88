# Mistake: refuses only a step of 0
# Rule: a step that is not positive and finite is refused with a ValueError
def round_stochastic(x, step, generator):
    if step == 0 or not math.isfinite(step):
        raise ValueError(f"step must be positive and finite, not {step}")
    x = x.float()
    if not x.isfinite().all():
        raise ValueError("x contains NaN or infinity")
    position = x / step
    below = torch.floor(position)
    up = torch.rand(x.shape, generator=generator) < position - below
    return (below + up) * step
