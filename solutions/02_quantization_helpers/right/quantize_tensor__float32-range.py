# Way: takes the range in numpy float32 and the codes from torch
def quantize_tensor(x, min_val=None, max_val=None, num_bits=8):
    if not isinstance(num_bits, int) or not 0 < num_bits < 17:
        raise ValueError(num_bits)
    x = x.clone().float()
    if bool((x != x).any()):
        raise ValueError("NaN")
    bounds = []
    for given, pick in ((min_val, torch.min), (max_val, torch.max)):
        if given is None and not x.numel():
            raise ValueError("empty")
        bounds.append(np.float32(pick(x)) if given is None else np.float32(given))
    low, high = bounds
    if not np.isfinite(low) or not np.isfinite(high) or high < low:
        raise ValueError("range")
    low, high = np.minimum(low, np.float32(0)), np.maximum(high, np.float32(0))
    width = np.float64(high) - np.float64(low)
    if width == 0:
        x[...] = 0
        return x, np.float64(1), np.int64(0)
    scale = width / (2**num_bits - 1)
    zero = np.int64(np.clip(np.rint(-low / scale), 0, 2**num_bits - 1))
    return (torch.round(x / float(scale)) + int(zero)).clamp(0, 2**num_bits - 1), scale, zero
