# Way: in numpy, one row of A after the other
def quantized_matmul(a_q, a_scale, a_zero, b_q, b_scale, b_zero):
    a, b = np.asarray(a_q).astype(np.int64) - a_zero, np.asarray(b_q).astype(np.int64) - b_zero
    acc = np.zeros((a.shape[0], b.shape[1]), dtype=np.int64)
    for i in range(len(a)):
        acc[i] = (a[i][:, None] * b).sum(axis=0)
    return torch.tensor(acc), a_scale * b_scale
