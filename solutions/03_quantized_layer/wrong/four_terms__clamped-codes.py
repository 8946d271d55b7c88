# Mistake: keeps the codes within 0 .. 255 first
# Rule: products are the plain matrix product of the codes, exact for every dtype
def four_terms(a_q, a_zero, b_q, b_zero):
    a, b = a_q.clamp(0, 255).long(), b_q.clamp(0, 255).long()
    return a @ b, a_zero * b.sum(0, keepdim=True), b_zero * a.sum(1, keepdim=True), a.shape[1] * a_zero * b_zero
