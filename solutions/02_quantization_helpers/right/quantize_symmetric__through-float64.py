# Way: in float64, halves away from zero
def quantize_symmetric(x, num_bits=8):
    if num_bits not in range(2, 17):
        raise ValueError("bits")
    y = x.double()
    if y.numel() < 1 or bool((y - y != 0).any()):
        raise ValueError("x")
    top = (1 << (num_bits - 1)) - 1
    step = float(y.abs().amax()) / top
    if step == 0.0:
        return torch.zeros_like(x, dtype=torch.float32), 1, 0
    return (torch.sign(y) * torch.floor(y.abs() / step + 0.5)).float(), step, 0
