# Mistake: takes the zero points for bytes
# Rule: row_term is b_zero times the sum of each row of a_q, shape (rows, 1)
def four_terms(a_q, a_zero, b_q, b_zero):
    a, b = a_q.long(), b_q.long()
    a_zero, b_zero = a_zero % 256, b_zero % 256
    return a @ b, a_zero * b.sum(0, keepdim=True), b_zero * a.sum(1, keepdim=True), a.shape[1] * a_zero * b_zero
