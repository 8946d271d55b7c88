# Mistake: broadcasts the terms to the size of the products
# Rule: column_term is a_zero times the sum of each column of b_q, shape (1, columns)
def four_terms(a_q, a_zero, b_q, b_zero):
    a, b = a_q.long(), b_q.long()
    p = a @ b
    return (
        p,
        (a_zero * b.sum(0, keepdim=True)).expand_as(p),
        (b_zero * a.sum(1, keepdim=True)).expand_as(p),
        a.shape[1] * a_zero * b_zero,
    )
