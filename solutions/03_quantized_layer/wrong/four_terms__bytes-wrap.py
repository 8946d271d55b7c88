# Mistake: multiplies in the codes' own dtype
# Rule: exact for every dtype
def four_terms(a_q, a_zero, b_q, b_zero):
    products = (a_q.unsqueeze(2) * b_q.unsqueeze(0)).sum(dim=1).to(torch.int64)
    column_term = a_zero * b_q.to(torch.int64).sum(dim=0, keepdim=True)
    row_term = b_zero * a_q.to(torch.int64).sum(dim=1, keepdim=True)
    return products, column_term, row_term, a_q.shape[1] * a_zero * b_zero
