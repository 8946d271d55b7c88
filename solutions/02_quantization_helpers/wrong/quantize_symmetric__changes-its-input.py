# Mistake: takes absolute values in place
# Rule: x itself is not changed
def quantize_symmetric(x, num_bits=8):
    if not 2 <= num_bits <= 16:
        raise ValueError("num_bits must lie in 2..16")
    x = x.float()
    if x.numel() == 0 or not x.isfinite().all():
        raise ValueError("x must hold finite numbers")
    levels = 2 ** (num_bits - 1) - 1
    scalefactor = max(-x.min().item(), x.max().item()) / levels or 1.0
    q = x.div_(scalefactor).round_().clamp(-levels, levels)
    return q, scalefactor, 0
