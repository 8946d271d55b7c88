# Way: a loop over channels with plain numbers
def quantize_per_channel(w, axis=0, num_bits=8):
    if num_bits < 1 or num_bits > 16:
        raise ValueError("num_bits must be 1..16")
    if w.numel() == 0:
        raise ValueError("w is empty")
    if not torch.isfinite(w).all():
        raise ValueError("w has NaN or infinity")
    top = 2**num_bits - 1
    codes, scales, zeros = [], [], []
    for channel in w.double().unbind(axis):
        low, high = min(channel.min().item(), 0.0), max(channel.max().item(), 0.0)
        scale = (high - low) / top if high > low else 1.0
        zero = round(-low / scale)
        codes.append((channel / scale).round().add(zero).clamp(0, top))
        scales.append(scale)
        zeros.append(zero)
    shape = [1] * w.dim()
    shape[axis] = -1
    return torch.stack(codes, axis).float(), torch.tensor(scales).reshape(shape), torch.tensor(zeros).reshape(shape)
