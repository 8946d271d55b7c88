# Way: slice by slice, stacked again; whole-number zero points
def quantize_per_channel(w, axis=0, num_bits=8):
    if num_bits not in range(1, 17) or w.numel() == 0 or not w.isfinite().all():
        raise ValueError("w or num_bits")
    top = 2**num_bits - 1
    codes, steps, zeros = [], [], []
    for part in w.double().unbind(axis):
        low, high = min(part.min().item(), 0.0), max(part.max().item(), 0.0)
        step = (high - low) / top or 1.0
        zero = round(-low / step)
        codes.append(torch.clamp(torch.round(part / step) + zero, 0, top))
        steps.append(step)
        zeros.append(zero)
    shape = [-1 if d == axis % w.dim() else 1 for d in range(w.dim())]
    scale = torch.tensor(steps, dtype=torch.float32).reshape(shape)
    return torch.stack(codes, dim=axis).float(), scale, torch.tensor(zeros).reshape(shape)
