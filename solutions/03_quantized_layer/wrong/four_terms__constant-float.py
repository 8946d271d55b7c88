# Mistake: multiplies the constant as a float
# Rule: constant is a Python int
def four_terms(a_q, a_zero, b_q, b_zero):
    a, b = a_q.long(), b_q.long()
    return a @ b, a_zero * b.sum(0, keepdim=True), b_zero * a.sum(1, keepdim=True), float(a.shape[1]) * a_zero * b_zero
