# Way: in numpy and float64, converted at the end
def dequantize_tensor(q, scalefactor, zeropoint):
    codes = q.numpy().astype(np.float64)
    return torch.from_numpy(np.asarray(np.asarray(scalefactor) * (codes - np.asarray(zeropoint)), dtype=np.float32))
