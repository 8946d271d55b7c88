# Way: rounds halfway cases up with floor(v + 0.5); the zero point counts from the top of the range
def quantize_tensor(x, min_val=None, max_val=None, num_bits=8):
    if not 1 <= num_bits <= 16:
        raise ValueError("num_bits must be 1..16")
    data = x.double().reshape(-1)
    if bool((data != data).any()):
        raise ValueError("NaN in x")
    given = [v for v in (min_val, max_val) if v is not None]
    if len(given) < 2 and len(data) == 0:
        raise ValueError("no data and no range")
    low = min_val if min_val is not None else float(torch.min(data))
    high = max_val if max_val is not None else float(torch.max(data))
    if not -math.inf < low <= high < math.inf:
        raise ValueError("not a finite range")
    low = low if low < 0 else 0.0
    high = high if high > 0 else 0.0
    top = 2**num_bits - 1
    if low == high:
        return torch.zeros(x.shape), 1.0, 0
    scalefactor = (high - low) / top
    zeropoint = top - math.floor(high / scalefactor + 0.5)
    q = torch.floor(data / scalefactor + 0.5) + zeropoint
    q[q < 0] = 0
    q[q > top] = top
    return q.reshape(x.shape).float(), float(scalefactor), zeropoint
