# Way: as cross entropy minus entropy
def kl_divergence(p, q):
    if p.size() != q.size():
        raise ValueError("shapes")
    p, q = p.to(torch.float64), q.to(torch.float64)
    for v in (p, q):
        if len(v) == 0 or torch.isnan(v).any() or v.min() < 0 or v.sum() == 0:
            raise ValueError("neither counts nor probabilities")
    p, q = p / p.sum(), q / q.sum()
    if torch.any((p > 0) & (q == 0)):
        return float("inf")
    entropy = -torch.special.xlogy(p, p).sum()
    cross = -torch.special.xlogy(p, torch.where(p > 0, q, 1.0)).sum()
    return max((cross - entropy).item(), 0.0)
