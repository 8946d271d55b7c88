# Mistake: returns float tensors
# Rule: the three tensors are int64
def four_terms(a_q, a_zero, b_q, b_zero):
    a, b = a_q.double(), b_q.double()
    column_term = a_zero * b.sum(dim=0, keepdim=True)
    row_term = b_zero * a.sum(dim=1, keepdim=True)
    return a @ b, column_term, row_term, a.shape[1] * a_zero * b_zero
