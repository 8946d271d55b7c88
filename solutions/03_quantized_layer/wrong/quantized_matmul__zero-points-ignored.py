# Mistake: multiplies the codes as if the zero points were 0
# Rule: acc is the sum over k of (a_q - a_zero) * (b_q - b_zero)
def quantized_matmul(a_q, a_scale, a_zero, b_q, b_scale, b_zero):
    return a_q.long() @ b_q.long(), a_scale * b_scale
