# Mistake: computes in the dtype of the input
# Rule: float16 and float64 input gives a float32 result
def round_stochastic(x, step, generator):
    if not (math.isfinite(step) and step > 0):
        raise ValueError("step must be positive and finite")
    if not x.isfinite().all():
        raise ValueError("x contains NaN or infinity")
    position = x / step
    below = torch.floor(position)
    up = torch.rand(x.shape, generator=generator) < position - below
    return ((below + up) * step).float()
