# Mistake: gives float64 for a float64 x
# Rule: float16 and float64 input gives a float32 result, computed in float32 or better
def round_stochastic(x, step, generator):
    if not (math.isfinite(step) and step > 0):
        raise ValueError(f"step must be positive and finite, not {step}")
    x = x if x.dtype == torch.float64 else x.float()
    if not x.isfinite().all():
        raise ValueError("x contains NaN or infinity")
    position = x / step
    below = torch.floor(position)
    up = torch.rand(x.shape, generator=generator) < position - below
    return (below + up) * step
