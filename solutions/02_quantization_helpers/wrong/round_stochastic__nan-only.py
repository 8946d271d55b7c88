# Mistake: refuses NaN, not infinities
# Rule: NaN and infinity are refused with a ValueError
def round_stochastic(x, step, generator):
    if not (math.isfinite(step) and step > 0):
        raise ValueError(f"step must be positive and finite, not {step}")
    x = x.float()
    if x.isnan().any():
        raise ValueError("x contains NaN or infinity")
    position = x / step
    below = torch.floor(position)
    up = torch.rand(x.shape, generator=generator) < position - below
    return (below + up) * step
