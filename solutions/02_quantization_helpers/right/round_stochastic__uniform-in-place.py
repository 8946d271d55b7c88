# Way: a tensor filled by uniform_
def round_stochastic(x, step, generator):
    if step <= 0 or step == math.inf or step != step:
        raise ValueError("step")
    if bool((x.float().abs() == math.inf).any()) or bool(x.isnan().any()):
        raise ValueError("x")
    noise = torch.empty(x.shape).uniform_(generator=generator)
    counted = x.float() / step
    whole = counted.floor()
    return step * (whole + (noise < (counted - whole)).float())
