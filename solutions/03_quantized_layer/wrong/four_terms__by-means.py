# Mistake: takes N times the mean for the sum
# Rule: row_term is b_zero times the sum of each row of a_q, shape (rows, 1)
def four_terms(a_q, a_zero, b_q, b_zero):
    a, b = a_q.long(), b_q.long()
    n = a.shape[1]
    column = a_zero * n * b_q.float().mean(0, keepdim=True)
    row = b_zero * n * a_q.float().mean(1, keepdim=True)
    return a @ b, column.long(), row.long(), n * a_zero * b_zero
