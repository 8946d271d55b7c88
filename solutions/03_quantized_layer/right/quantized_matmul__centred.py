# Way: zero points off first, then one product
def quantized_matmul(a_q, a_scale, a_zero, b_q, b_scale, b_zero):
    return torch.mm(a_q.long() - a_zero, b_q.long() - b_zero), a_scale * b_scale
