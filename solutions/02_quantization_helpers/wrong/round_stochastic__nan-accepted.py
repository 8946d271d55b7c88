# Mistake: lets NaN and infinity through
# Rule: NaN and infinity are refused
def round_stochastic(x, step, generator):
    if not (math.isfinite(step) and step > 0):
        raise ValueError("step must be positive and finite")
    x = x.float()
    position = x / step
    below = torch.floor(position)
    up = torch.rand(x.shape, generator=generator) < position - below
    return (below + up) * step
