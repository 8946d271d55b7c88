# Mistake: takes the zero points off in place
# Rule: the codes themselves are not changed
def quantized_matmul(a_q, a_scale, a_zero, b_q, b_scale, b_zero):
    a_q -= a_zero
    b_q -= b_zero
    return a_q.long() @ b_q.long(), a_scale * b_scale
