# Way: numpy in int64, np.float64 scale
def quantized_matmul(a_q, a_scale, a_zero, b_q, b_scale, b_zero):
    a, b = a_q.numpy().astype(np.int64) - a_zero, b_q.numpy().astype(np.int64) - b_zero
    return torch.from_numpy(a @ b), float(np.prod([a_scale, b_scale]))
