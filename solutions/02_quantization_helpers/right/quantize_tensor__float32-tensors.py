# Way: all in float32 tensors; the zero point is added before rounding
def quantize_tensor(x, min_val=None, max_val=None, num_bits=8):
    if num_bits < 1 or num_bits > 16:
        raise ValueError("num_bits")
    x = x.to(torch.float32)
    if torch.isnan(x).any():
        raise ValueError("NaN")
    if (min_val is None or max_val is None) and not x.numel():
        raise ValueError("empty")
    low = x.min() if min_val is None else torch.tensor(min_val, dtype=torch.float32)
    high = x.max() if max_val is None else torch.tensor(max_val, dtype=torch.float32)
    if not torch.isfinite(torch.stack([low, high])).all():
        raise ValueError("infinite range")
    if low > high:
        raise ValueError("min_val > max_val")
    low, high = torch.clamp(low, max=0), torch.clamp(high, min=0)
    scale = (high - low) / (2**num_bits - 1)
    if scale == 0:
        return torch.zeros_like(x), 1.0, 0
    zero = torch.round(-low / scale)
    q = torch.round(x / scale + zero).clamp(0, 2**num_bits - 1)
    return q, scale.item(), int(zero.item())
