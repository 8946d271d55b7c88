# Mistake: the zero points are a vector
# Rule: scalefactors and zeropoints have size 1 along every dimension but axis
def quantize_per_channel(w, axis=0, num_bits=8):
    if not 1 <= num_bits <= 16:
        raise ValueError(f"num_bits must lie in 1..16, not {num_bits}")
    w = w.float()
    if w.numel() == 0 or not w.isfinite().all():
        raise ValueError("w must hold at least one number, and only finite ones")
    rows = w.movedim(axis, 0).reshape(w.shape[axis], -1)  # one row per channel
    shape = [1] * w.dim()
    shape[axis] = w.shape[axis]
    low = rows.amin(dim=1).clamp(max=0).reshape(shape)
    high = rows.amax(dim=1).clamp(min=0).reshape(shape)

    levels = 2**num_bits - 1
    scalefactors = (high - low) / levels
    scalefactors = torch.where(scalefactors == 0, 1.0, scalefactors)
    zeropoints = torch.round(-low / scalefactors).clamp(0, levels)
    q = torch.clamp(torch.round(w / scalefactors) + zeropoints, 0, levels)
    return q, scalefactors, zeropoints.flatten()
