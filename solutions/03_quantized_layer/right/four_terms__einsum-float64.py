# Way: by einsum in float64, where whole numbers up to 2^53 are exact
def four_terms(a_q, a_zero, b_q, b_zero):
    a, b = a_q.double(), b_q.double()
    products = torch.einsum("ik,kj->ij", a, b).long()
    columns = torch.einsum("kj->j", b).long()[None, :]
    rows = torch.einsum("ik->i", a).long()[:, None]
    return products, columns * a_zero, rows * b_zero, int(a_q.shape[1]) * a_zero * b_zero
