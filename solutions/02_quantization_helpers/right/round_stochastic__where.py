# Way: picks between floor and floor + 1 by torch.where, in float64
def round_stochastic(x, step, generator):
    if step <= 0 or not math.isfinite(step):
        raise ValueError("step must be a positive number")
    scaled = x.to(torch.float64) / step
    if not bool(torch.isfinite(scaled).all()):
        raise ValueError("only finite numbers can be rounded")
    lower = scaled.floor()
    draw = torch.rand(x.shape, dtype=torch.float64, generator=generator)
    return torch.where(draw < scaled - lower, lower + 1, lower).mul(step).to(torch.float32)
