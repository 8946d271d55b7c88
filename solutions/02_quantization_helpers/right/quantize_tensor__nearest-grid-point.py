# Way: searches the grid itself
def quantize_tensor(x, min_val=None, max_val=None, num_bits=8):
    if num_bits not in list(range(1, 17)):
        raise ValueError("1 to 16 bits")
    flat = np.array(x.reshape(-1).tolist(), dtype=np.float64)
    if np.any(np.isnan(flat)):
        raise ValueError("NaN")
    low = min_val if min_val is not None else min(flat.tolist())  # the minimum of nothing is a ValueError
    high = max_val if max_val is not None else max(flat.tolist())
    if not (abs(low) < math.inf and abs(high) < math.inf and low <= high):
        raise ValueError("bounds")
    low, high = float(min(low, 0)), float(max(high, 0))
    count = 2**num_bits
    if low == high:
        return torch.zeros(x.shape), 1.0, 0
    step = (high - low) / (count - 1)
    zero = round(-low / step)
    grid = step * (np.arange(count) - zero)
    code = np.searchsorted((grid[1:] + grid[:-1]) / 2, flat)
    return torch.tensor(code).reshape(x.shape).to(torch.float32), step, zero
