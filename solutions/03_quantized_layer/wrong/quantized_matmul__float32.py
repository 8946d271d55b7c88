# Mistake: multiplies in float32 and converts the result
# Rule: acc is exact above 2^24
def quantized_matmul(a_q, a_scale, a_zero, b_q, b_scale, b_zero):
    acc = (a_q.float() - a_zero) @ (b_q.float() - b_zero)
    return acc.round().long(), a_scale * b_scale
