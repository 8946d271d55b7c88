# Way: element by element, in Python
def quantize_symmetric(x, num_bits=8):
    if not 2 <= num_bits <= 16:
        raise ValueError("bits")
    values = [float(v) for v in x.reshape(-1)]
    if not values or any(not math.isfinite(v) for v in values):
        raise ValueError("x")
    largest = max(map(abs, values))
    step = largest / (2 ** (num_bits - 1) - 1) if largest > 0 else 1.0
    codes = [float(round(v / step)) for v in values]
    return torch.tensor(codes, dtype=torch.float32).reshape(x.shape), step, 0
