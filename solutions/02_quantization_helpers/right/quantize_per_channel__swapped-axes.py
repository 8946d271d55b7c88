# Way: swaps the axis with the first, works on rows, swaps back; zero points as int32
def quantize_per_channel(w, axis=0, num_bits=8):
    if not 0 < num_bits < 17:
        raise ValueError("bits")
    v = w.to(torch.float32).transpose(0, axis)
    if not v.numel() or torch.isnan(v - v).any():
        raise ValueError("w")
    rows = v.flatten(1) if v.dim() > 1 else v[:, None]
    zeros = torch.zeros(len(rows), 1)
    low = torch.minimum(rows.min(1, keepdim=True).values, zeros)
    high = torch.maximum(rows.max(1, keepdim=True).values, zeros)
    step = (high - low) / (2**num_bits - 1)
    step[step == 0] = 1
    zero = (-low / step).round()
    q = ((rows / step).round() + zero).clamp(0, 2**num_bits - 1).reshape(v.shape).transpose(0, axis)
    shape = [1] * w.dim()
    shape[axis] = -1
    return q, step.reshape(shape), zero.int().reshape(shape)
