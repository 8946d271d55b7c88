# Mistake: refuses infinite values even when the range is given
# Rule: an infinite value saturates if its bound is given
def quantize_tensor(x, min_val=None, max_val=None, num_bits=8):
    if not 1 <= num_bits <= 16:
        raise ValueError("num_bits must lie in 1..16")
    x = x.float()
    if not x.isfinite().all():
        raise ValueError("x contains NaN")
    if x.numel() == 0 and (min_val is None or max_val is None):
        raise ValueError("an empty tensor has no range")
    low = x.min().item() if min_val is None else float(min_val)
    high = x.max().item() if max_val is None else float(max_val)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("the range is not finite")
    if low > high:
        raise ValueError("min_val is greater than max_val")
    low, high = min(low, 0.0), max(high, 0.0)
    levels = 2**num_bits - 1
    scalefactor = (high - low) / levels or 1.0
    zeropoint = min(max(round(-low / scalefactor), 0), levels)
    q = torch.clamp(torch.round(x / scalefactor) + zeropoint, 0, levels)
    return q, scalefactor, zeropoint
