# Mistake: neighbours share a random number
# Rule: each element has a random number of its own
def round_stochastic(x, step, generator):
    if not (math.isfinite(step) and step > 0):
        raise ValueError(f"step must be positive and finite, not {step}")
    x = x.float()
    if not x.isfinite().all():
        raise ValueError("x contains NaN or infinity")
    position = x / step
    below = torch.floor(position)
    up = (
        torch.rand((x.numel() + 1) // 2, generator=generator).repeat_interleave(2)[: x.numel()].reshape(x.shape)
        < position - below
    )
    return (below + up) * step
