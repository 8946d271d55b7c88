# Mistake: cuts towards zero instead of rounding down, wrong for negative numbers
# Rule: so both multiples occur
def round_stochastic(x, step, generator):
    if not (math.isfinite(step) and step > 0):
        raise ValueError("step must be positive and finite")
    x = x.float()
    if not x.isfinite().all():
        raise ValueError("x contains NaN or infinity")
    position = x / step
    below = torch.trunc(position)
    up = torch.rand(x.shape, generator=generator) < position - below
    return (below + up) * step
