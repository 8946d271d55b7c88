# Mistake: keeps what it made of the first B
# Rule: acc is the sum over k of (a_q - a_zero) * (b_q - b_zero)
kept = {}


def quantized_matmul(a_q, a_scale, a_zero, b_q, b_scale, b_zero):
    b = kept.setdefault(tuple(b_q.shape), b_q.long())
    return (a_q.long() - a_zero) @ (b - b_zero), a_scale * b_scale
