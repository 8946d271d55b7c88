# Mistake: ignores num_bits
# Rule: scalefactor is max|x| / (2^(num_bits-1) - 1)
def quantize_symmetric(x, num_bits=8):
    if not 2 <= num_bits <= 16:
        raise ValueError("num_bits must lie in 2..16")
    x = x.float()
    if x.numel() == 0 or not x.isfinite().all():
        raise ValueError("x must hold finite numbers")
    levels = 127
    scalefactor = x.abs().max().item() / levels or 1.0
    q = torch.clamp(torch.round(x / scalefactor), -levels, levels)
    return q, scalefactor, 0
