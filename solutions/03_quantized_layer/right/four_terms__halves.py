# Way: adds the products of the halves of the sums
def four_terms(a_q, a_zero, b_q, b_zero):
    n = a_q.shape[1]
    if n > 1000:
        left = four_terms(a_q[:, : n // 2], a_zero, b_q[: n // 2], b_zero)
        right = four_terms(a_q[:, n // 2 :], a_zero, b_q[n // 2 :], b_zero)
        return tuple(x + y for x, y in zip(left, right, strict=False))
    a, b = a_q.double(), b_q.double()
    return (a @ b).long(), (a_zero * b.sum(0)[None]).long(), (b_zero * a.sum(1)[:, None]).long(), n * a_zero * b_zero
