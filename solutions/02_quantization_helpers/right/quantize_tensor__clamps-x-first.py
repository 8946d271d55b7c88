# Way: clamps x to the range first; recursion fills in the missing bounds
def quantize_tensor(x, min_val=None, max_val=None, num_bits=8):
    if num_bits < 1 or num_bits > 16:
        raise ValueError("num_bits")
    x = x.to(torch.float64)
    if torch.isnan(x).any():
        raise ValueError("NaN")
    if None in (min_val, max_val):
        if x.nelement() == 0:
            raise ValueError("no range")
        low, high = torch.aminmax(x)
        return quantize_tensor(
            x, low.item() if min_val is None else min_val, high.item() if max_val is None else max_val, num_bits
        )
    if min_val > max_val or not np.isfinite([min_val, max_val]).all():
        raise ValueError("not a range")
    low, high = sorted((min(min_val, 0), max(max_val, 0)))
    top = (1 << num_bits) - 1
    x = x.clamp(low, high)
    if high == low:
        return x.float(), 1, 0
    step = (high - low) / top
    zero = int(-low / step + 0.5)
    return (x / step).round().add(zero).clamp(0, top).float(), step, zero
