# Mistake: takes all elements of A for the length of the sums
# Rule: constant is N * a_zero * b_zero
def four_terms(a_q, a_zero, b_q, b_zero):
    a, b = a_q.long(), b_q.long()
    return a @ b, a_zero * b.sum(0, keepdim=True), b_zero * a.sum(1, keepdim=True), a.numel() * a_zero * b_zero
