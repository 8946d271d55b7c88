# Mistake: rounds to nearest, without any chance
# Rule: so both multiples occur
def round_stochastic(x, step, generator):
    if not (math.isfinite(step) and step > 0):
        raise ValueError("step must be positive and finite")
    x = x.float()
    if not x.isfinite().all():
        raise ValueError("x contains NaN or infinity")
    position = x / step
    return (torch.round(position)) * step
