# Mistake: computes the four terms in float32
# Rule: acc is exact above 2^24
def quantized_matmul(a_q, a_scale, a_zero, b_q, b_scale, b_zero):
    a, b = a_q.float(), b_q.float()
    acc = a @ b
    acc = acc - a_zero * b.sum(dim=0, keepdim=True) - b_zero * a.sum(dim=1, keepdim=True)
    acc = acc + a.shape[1] * a_zero * b_zero
    return acc.long(), a_scale * b_scale
