# Mistake: needs contiguous codes
# Rule: codes of every dtype give the same accumulators
def quantized_matmul(a_q, a_scale, a_zero, b_q, b_scale, b_zero):
    a, b = a_q.view(-1).view(a_q.shape).long(), b_q.view(-1).view(b_q.shape).long()
    return (a - a_zero) @ (b - b_zero), a_scale * b_scale
