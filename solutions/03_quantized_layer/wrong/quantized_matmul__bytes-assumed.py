# Mistake: stores the codes in unsigned bytes first
# Rule: codes of every dtype give the same accumulators
def quantized_matmul(a_q, a_scale, a_zero, b_q, b_scale, b_zero):
    a, b = a_q.to(torch.uint8).long(), b_q.to(torch.uint8).long()
    acc = a @ b
    acc = acc - a_zero * b.sum(dim=0, keepdim=True) - b_zero * a.sum(dim=1, keepdim=True)
    acc = acc + a.shape[1] * a_zero * b_zero
    return acc, a_scale * b_scale
