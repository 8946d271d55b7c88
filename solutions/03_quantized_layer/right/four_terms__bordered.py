# Way: one product of matrices with a border of ones
def four_terms(a_q, a_zero, b_q, b_zero):
    a = functional.pad(a_q.double(), (0, 0, 0, 1), value=1.0)
    b = functional.pad(b_q.double(), (0, 1), value=1.0)
    c = (a @ b).long()
    return c[:-1, :-1], a_zero * c[-1:, :-1], b_zero * c[:-1, -1:], int(c[-1, -1]) * a_zero * b_zero
