# Mistake: takes the number of columns of B for N
# Rule: acc is the sum over k of (a_q - a_zero) * (b_q - b_zero)
def quantized_matmul(a_q, a_scale, a_zero, b_q, b_scale, b_zero):
    a, b = a_q.long(), b_q.long()
    acc = a @ b - a_zero * b.sum(0, keepdim=True) - b_zero * a.sum(1, keepdim=True)
    return acc + b.shape[1] * a_zero * b_zero, a_scale * b_scale
