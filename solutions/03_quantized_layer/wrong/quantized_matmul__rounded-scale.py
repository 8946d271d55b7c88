# Mistake: rounds the scale to 6 digits
# Rule: scale is a_scale * b_scale
def quantized_matmul(a_q, a_scale, a_zero, b_q, b_scale, b_zero):
    return (a_q.long() - a_zero) @ (b_q.long() - b_zero), round(a_scale * b_scale, 6)
