# Way: numpy with a tuple of axes
def quantize_per_channel(w, axis=0, num_bits=8):
    a = w.numpy().astype(np.float64)
    if not (1 <= num_bits <= 16) or a.size == 0 or not np.isfinite(a).all():
        raise ValueError("w or num_bits")
    others = tuple(np.delete(np.arange(a.ndim), axis))
    low, high = np.minimum(a.min(axis=others, keepdims=True), 0), np.maximum(a.max(axis=others, keepdims=True), 0)
    step = np.where(high == low, 1.0, (high - low) / (2**num_bits - 1))
    zero = np.rint(-low / step)
    q = np.clip(np.rint(a / step) + zero, 0, 2**num_bits - 1)
    return torch.tensor(q, dtype=torch.float32), torch.tensor(step, dtype=torch.float32), torch.tensor(zero)
