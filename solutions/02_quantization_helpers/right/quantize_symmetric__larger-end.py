# Way: the larger of -min and max; codes down to -2^(n-1) never occur
def quantize_symmetric(x, num_bits=8):
    if num_bits > 16 or num_bits < 2:
        raise ValueError("bits")
    if not x.numel() or not torch.isfinite(x).all():
        raise ValueError("x")
    x = x.float()
    largest = max(-x.min().item(), x.max().item())
    step = largest / (2 ** (num_bits - 1) - 1) if largest else 1.0
    return torch.clamp((x / step).round(), -(2 ** (num_bits - 1)), 2 ** (num_bits - 1) - 1), step, 0
