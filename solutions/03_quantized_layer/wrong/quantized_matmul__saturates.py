# Mistake: saturates the accumulators at 32 bits
# Rule: acc is exact above 2^31, where int32 wraps around
def quantized_matmul(a_q, a_scale, a_zero, b_q, b_scale, b_zero):
    acc = (a_q.long() - a_zero) @ (b_q.long() - b_zero)
    return acc.clamp(-(2**31), 2**31 - 1), a_scale * b_scale
