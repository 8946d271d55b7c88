# Mistake: returns an int32 tensor
# Rule: acc is an int64 tensor
def quantized_matmul(a_q, a_scale, a_zero, b_q, b_scale, b_zero):
    a, b = a_q.to(torch.int64), b_q.to(torch.int64)
    acc = a @ b
    acc = acc - a_zero * b.sum(dim=0, keepdim=True) - b_zero * a.sum(dim=1, keepdim=True)
    acc = acc + a.shape[1] * a_zero * b_zero
    return acc.to(torch.int32), a_scale * b_scale
