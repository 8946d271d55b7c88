# Mistake: returns a list
# Rule: the result is a tuple (products, column_term, row_term, constant)
def four_terms(a_q, a_zero, b_q, b_zero):
    a, b = a_q.long(), b_q.long()
    return [a @ b, a_zero * b.sum(0, keepdim=True), b_zero * a.sum(1, keepdim=True), a.shape[1] * a_zero * b_zero]
