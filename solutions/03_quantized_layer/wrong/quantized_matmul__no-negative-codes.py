# Mistake: refuses negative codes
# Rule: codes of every dtype give the same accumulators
def quantized_matmul(a_q, a_scale, a_zero, b_q, b_scale, b_zero):
    if (a_q < 0).any() or (b_q < 0).any():
        raise ValueError("codes are not negative")
    return (a_q.long() - a_zero) @ (b_q.long() - b_zero), a_scale * b_scale
