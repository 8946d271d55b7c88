# Mistake: cuts the longer one
# Rule: two different lengths are refused
def kl_divergence(p, q):
    if p.shape != q.shape:
        n = min(len(p), len(q))
        p, q = p[:n], q[:n]
    p, q = p.double(), q.double()
    if not ((p >= 0).all() and (q >= 0).all()):
        raise ValueError("counts and probabilities are not negative, nor NaN")
    if p.sum() == 0 or q.sum() == 0:
        raise ValueError("nothing cannot be normalized")
    p, q = p / p.sum(), q / q.sum()
    used = p > 0
    if (q[used] == 0).any():
        return math.inf
    return float((p[used] * torch.log(p[used] / q[used])).sum().clamp(min=0.0))
