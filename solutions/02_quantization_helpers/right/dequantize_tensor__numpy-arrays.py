# Way: numpy from end to end
def dequantize_tensor(q, scalefactor, zeropoint):
    codes = np.asarray(q).astype(np.float64) - np.asarray(zeropoint).astype(np.float64)
    return torch.tensor(np.asarray(scalefactor).astype(np.float64) * codes, dtype=torch.float32).reshape(q.shape)
