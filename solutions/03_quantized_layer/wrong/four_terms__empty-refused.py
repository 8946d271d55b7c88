# Mistake: refuses sums of nothing
# Rule: codes of every dtype and shape have four terms
def four_terms(a_q, a_zero, b_q, b_zero):
    if a_q.shape[1] == 0:
        raise ValueError("nothing to multiply")
    a, b = a_q.long(), b_q.long()
    return a @ b, a_zero * b.sum(0, keepdim=True), b_zero * a.sum(1, keepdim=True), a.shape[1] * a_zero * b_zero
