# Way: reduces one dimension after the other with keepdim
def quantize_per_channel(w, axis=0, num_bits=8):
    if not 1 <= num_bits <= 16:
        raise ValueError("num_bits")
    if not w.numel() or (w - w).isnan().any():
        raise ValueError("w")
    w = w.to(torch.float32)
    low = high = w
    for dim in range(w.dim()):
        if dim not in (axis, axis + w.dim()):
            low, high = low.amin(dim, keepdim=True), high.amax(dim, keepdim=True)
    low, high = torch.minimum(low, torch.zeros_like(low)), torch.maximum(high, torch.zeros_like(high))
    levels = 2**num_bits - 1
    scale = (high - low) / levels
    scale = scale.masked_fill(scale == 0, 1.0)
    zero = (-low / scale).round()
    return (w.div(scale).round() + zero).clamp(0, levels), scale, zero
