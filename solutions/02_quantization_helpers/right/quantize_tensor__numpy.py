# Way: in numpy, in float64, with np.rint
def quantize_tensor(x, min_val=None, max_val=None, num_bits=8):
    if num_bits not in range(1, 17):
        raise ValueError("num_bits must lie in 1..16")
    values = x.detach().numpy().astype(np.float64)
    if np.isnan(values).any():
        raise ValueError("NaN has no code")
    if values.size == 0 and None in (min_val, max_val):
        raise ValueError("nothing to take the range from")
    bounds = np.array(
        [values.min() if min_val is None else min_val, values.max() if max_val is None else max_val], dtype=np.float64
    )
    if not np.isfinite(bounds).all() or bounds[0] > bounds[1]:
        raise ValueError(f"not a range: {bounds}")
    lowest, highest = np.minimum(bounds[0], 0), np.maximum(bounds[1], 0)
    steps = (1 << num_bits) - 1
    if highest == lowest:
        return torch.from_numpy(np.zeros(values.shape, dtype=np.float32)), 1.0, 0
    scalefactor = float((highest - lowest) / steps)
    zeropoint = int(np.rint(-lowest / scalefactor))
    codes = np.clip(np.rint(values / scalefactor) + zeropoint, 0, steps)
    return torch.as_tensor(codes, dtype=torch.float32), scalefactor, zeropoint
