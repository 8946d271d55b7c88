# Mistake: keeps the column sums of the last B of this shape
# Rule: column_term is a_zero times the sum of each column of b_q, shape (1, columns)
sums = {}


def four_terms(a_q, a_zero, b_q, b_zero):
    a, b = a_q.long(), b_q.long()
    column = sums.setdefault((b.shape, b.dtype, a_zero), b.sum(0, keepdim=True))
    return a @ b, a_zero * column, b_zero * a.sum(1, keepdim=True), a.shape[1] * a_zero * b_zero
