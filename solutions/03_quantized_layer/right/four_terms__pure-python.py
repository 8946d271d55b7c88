# Way: lists of Python ints
def four_terms(a_q, a_zero, b_q, b_zero):
    a, b = [[int(v) for v in row] for row in a_q.tolist()], [[int(v) for v in row] for row in b_q.T.tolist()]
    products = torch.tensor([[sum(x * y for x, y in zip(i, j, strict=False)) for j in b] for i in a], dtype=torch.int64)
    return (
        products,
        torch.tensor([[a_zero * sum(j) for j in b]], dtype=torch.int64),
        torch.tensor([[b_zero * sum(i)] for i in a], dtype=torch.int64),
        len(b[0]) * a_zero * b_zero,
    )
