# Mistake: puts the generator back where it was
# Rule: a second call with the same generator draws new numbers
def round_stochastic(x, step, generator):
    if not (math.isfinite(step) and step > 0):
        raise ValueError(f"step must be positive and finite, not {step}")
    x = x.float()
    if not x.isfinite().all():
        raise ValueError("x contains NaN or infinity")
    position = x / step
    below = torch.floor(position)
    state = generator.get_state()
    up = torch.rand(x.shape, generator=generator) < position - below
    generator.set_state(state)
    return (below + up) * step
