# Mistake: keeps zero points within 0 .. 255
# Rule: acc is exact above 2^24, where float32 has gaps
def quantized_matmul(a_q, a_scale, a_zero, b_q, b_scale, b_zero):
    a_zero, b_zero = min(max(a_zero, 0), 255), min(max(b_zero, 0), 255)
    return (a_q.long() - a_zero) @ (b_q.long() - b_zero), a_scale * b_scale
