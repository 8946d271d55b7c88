# Way: in numpy and float64
def quantize_symmetric(x, num_bits=8):
    values = np.asarray(x.detach(), dtype=np.float64)
    if num_bits < 2 or num_bits > 16 or values.size == 0 or not np.all(np.isfinite(values)):
        raise ValueError("num_bits or x cannot be quantized")
    half = 2 ** (num_bits - 1) - 1
    largest = np.abs(values).max()
    scale = 1.0 if largest == 0 else float(largest) / half
    return torch.tensor(np.rint(values / scale), dtype=torch.float32), scale, 0
