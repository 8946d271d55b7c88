# Mistake: seeds torch's global generator from the one it gets
# Rule: the generator is the only source of randomness
def round_stochastic(x, step, generator):
    if not (math.isfinite(step) and step > 0):
        raise ValueError(f"step must be positive and finite, not {step}")
    x = x.float()
    if not x.isfinite().all():
        raise ValueError("x contains NaN or infinity")
    position = x / step
    below = torch.floor(position)
    torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
    up = torch.rand(x.shape) < position - below
    return (below + up) * step
