# Way: with torch.bernoulli
def round_stochastic(x, step, generator):
    if not 0 < step < math.inf:
        raise ValueError("step")
    if not torch.isfinite(x).all():
        raise ValueError("x")
    x = x.double()
    below = torch.div(x, step, rounding_mode="floor")
    chance = (x / step - below).clamp(0, 1)
    return ((below + torch.bernoulli(chance, generator=generator)) * step).float()
