# Mistake: takes minimum and maximum over the channel axis itself
# Rule: size 1 along every dimension but axis
def quantize_per_channel(w, axis=0, num_bits=8):
    if not 1 <= num_bits <= 16:
        raise ValueError("num_bits must lie in 1..16")
    w = w.float()
    if w.numel() == 0 or not w.isfinite().all():
        raise ValueError("w must hold finite numbers")
    low = w.amin(dim=axis, keepdim=True).clamp(max=0)
    high = w.amax(dim=axis, keepdim=True).clamp(min=0)
    levels = 2**num_bits - 1
    scalefactors = (high - low) / levels
    scalefactors = torch.where(scalefactors == 0, 1.0, scalefactors)
    zeropoints = torch.round(-low / scalefactors).clamp(0, levels)
    q = torch.clamp(torch.round(w / scalefactors) + zeropoints, 0, levels)
    return q, scalefactors, zeropoints
