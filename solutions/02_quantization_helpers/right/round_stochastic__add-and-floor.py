# Way: adds a uniform number in float64, then rounds down
def round_stochastic(x, step, generator):
    if not (step > 0 and math.isfinite(step)) or x.isnan().any() or x.isinf().any():
        raise ValueError("step or x")
    dither = torch.rand(x.shape, generator=generator)
    return (torch.floor(x.double() / step + dither) * step).float()
