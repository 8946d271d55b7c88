# Mistake: reduces over the last two dimensions only
# Rule: axis says which dimension counts the channels, from the end if negative
def quantize_per_channel(w, axis=0, num_bits=8):
    if not 1 <= num_bits <= 16:
        raise ValueError("num_bits")
    w = w.float()
    if w.numel() == 0 or not w.isfinite().all():
        raise ValueError("w")
    dims = [d for d in range(w.dim()) if d != axis % w.dim()][-2:]
    low = w.amin(dim=dims, keepdim=True).clamp(max=0) if dims else w.clamp(max=0)
    high = w.amax(dim=dims, keepdim=True).clamp(min=0) if dims else w.clamp(min=0)
    levels = 2**num_bits - 1
    scalefactors = (high - low) / levels
    scalefactors = torch.where(scalefactors == 0, 1.0, scalefactors)
    zeropoints = torch.round(-low / scalefactors)
    return torch.clamp(torch.round(w / scalefactors) + zeropoints, 0, levels), scalefactors, zeropoints
