# Mistake: adds noise from [0, 1) and then rounds to nearest, half a step too high
# Rule: one of the two multiples of step next to x
def round_stochastic(x, step, generator):
    if not (math.isfinite(step) and step > 0):
        raise ValueError("step must be positive and finite")
    x = x.float()
    if not x.isfinite().all():
        raise ValueError("x contains NaN or infinity")
    position = x / step
    return torch.round(position + torch.rand(x.shape, generator=generator)) * step
