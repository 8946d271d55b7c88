# Way: ceil where the draw is large, float64 inside
def round_stochastic(x, step, generator):
    if not 0 < step < math.inf:
        raise ValueError("step")
    y = x.double()
    if not torch.isfinite(y).all():
        raise ValueError("x")
    y = y / step
    draw = torch.rand(y.shape, generator=generator, dtype=torch.float64)
    return (torch.where(draw >= 1 - (y - y.floor()), y.ceil(), y.floor()) * step).to(torch.float32)
