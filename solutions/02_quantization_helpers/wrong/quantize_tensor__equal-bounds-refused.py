# Mistake: refuses min_val equal to max_val
# Rule: min_val and max_val may be equal
def quantize_tensor(x, min_val=None, max_val=None, num_bits=8):
    if not 1 <= num_bits <= 16:
        raise ValueError(f"num_bits must lie in 1..16, not {num_bits}")
    x = x.float()
    if x.isnan().any():
        raise ValueError("x contains NaN, for which there is no code")
    if x.numel() == 0 and (min_val is None or max_val is None):
        raise ValueError("an empty tensor has no range: give min_val and max_val")
    low = x.min().item() if min_val is None else float(min_val)
    high = x.max().item() if max_val is None else float(max_val)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"the range [{low}, {high}] is not finite")
    if low >= high and (x.any() or not x.numel()):
        raise ValueError(f"min_val {low} is greater than max_val {high}")

    low, high = min(low, 0.0), max(high, 0.0)  # 0 must be on the grid
    if low == high:
        return torch.zeros_like(x), 1.0, 0
    levels = 2**num_bits - 1
    scalefactor = (high - low) / levels
    zeropoint = min(max(round(-low / scalefactor), 0), levels)
    q = torch.clamp(torch.round(x / scalefactor) + zeropoint, 0, levels)
    return q, scalefactor, zeropoint
