# Mistake: computes in int16
# Rule: products are the plain matrix product of the codes, exact for every dtype
def four_terms(a_q, a_zero, b_q, b_zero):
    a, b = a_q.to(torch.int16), b_q.to(torch.int16)
    parts = a @ b, a_zero * b.sum(0, keepdim=True), b_zero * a.sum(1, keepdim=True)
    return *(part.long() for part in parts), a.shape[1] * a_zero * b_zero
