# Way: numpy with keepdims over a tuple of axes
def quantize_per_channel(w, axis=0, num_bits=8):
    values = w.detach().numpy().astype(np.float32)
    if num_bits not in range(1, 17) or values.size == 0 or not np.isfinite(values).all():
        raise ValueError("cannot quantize this")
    others = tuple(d for d in range(values.ndim) if d != axis % values.ndim)
    low = np.minimum(values.min(axis=others, keepdims=True), 0)
    high = np.maximum(values.max(axis=others, keepdims=True), 0)
    scales = (high - low) / np.float32(2**num_bits - 1)
    scales[scales == 0] = 1
    zeros = np.rint(-low / scales)
    codes = np.clip(np.rint(values / scales + zeros), 0, 2**num_bits - 1)
    return torch.from_numpy(codes), torch.from_numpy(scales), torch.from_numpy(zeros).int()
