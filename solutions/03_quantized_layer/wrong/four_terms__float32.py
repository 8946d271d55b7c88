# Mistake: computes in float32 and converts at the end
# Rule: products are the plain matrix product of the codes, exact
def four_terms(a_q, a_zero, b_q, b_zero):
    a, b = a_q.float(), b_q.float()
    column_term = a_zero * b.sum(dim=0, keepdim=True)
    row_term = b_zero * a.sum(dim=1, keepdim=True)
    return (a @ b).long(), column_term.long(), row_term.long(), a.shape[1] * a_zero * b_zero
