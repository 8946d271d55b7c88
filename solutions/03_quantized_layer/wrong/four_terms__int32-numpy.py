# Mistake: numpy with int32
# Rule: products are the plain matrix product of the codes, exact for every dtype
def four_terms(a_q, a_zero, b_q, b_zero):
    a, b = a_q.numpy().astype(np.int32), b_q.numpy().astype(np.int32)
    parts = a @ b, a_zero * b.sum(0, keepdims=True, dtype=np.int32), b_zero * a.sum(1, keepdims=True, dtype=np.int32)
    return *(torch.from_numpy(p).long() for p in parts), a.shape[1] * a_zero * b_zero
