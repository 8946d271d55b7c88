# Mistake: 2 bits are refused
# Rule: num_bits may be any whole number from 2 to 16
def quantize_symmetric(x, num_bits=8):
    if not 3 <= num_bits <= 16:
        raise ValueError(f"num_bits must lie in 2..16, not {num_bits}")
    x = x.float()
    if x.numel() == 0 or not x.isfinite().all():
        raise ValueError("x must hold at least one number, and only finite ones")
    levels = 2 ** (num_bits - 1) - 1
    scalefactor = x.abs().max().item() / levels or 1.0
    q = torch.clamp(torch.round(x / scalefactor), -levels, levels)
    return q, scalefactor, 0
