# Way: one draw after the other
def round_stochastic(x, step, generator):
    if not math.isfinite(step) or step <= 0:
        raise ValueError("step")
    values = x.double().flatten().tolist()
    if not all(map(math.isfinite, values)):
        raise ValueError("x")
    draws = torch.rand(len(values), generator=generator).tolist()
    result = []
    for value, draw in zip(values, draws, strict=True):
        below = math.floor(value / step)
        result.append((below + (draw < value / step - below)) * step)
    return torch.tensor(result, dtype=torch.float32).reshape(x.shape)
