# Mistake: divides the caller's tensors
# Rule: all is calculated in float64
def kl_divergence(p, q):
    if p.shape != q.shape:
        raise ValueError(f"the shapes {tuple(p.shape)} and {tuple(q.shape)} differ")
    if not ((p >= 0).all() and (q >= 0).all()):
        raise ValueError("counts and probabilities are not negative, nor NaN")
    if p.sum() == 0 or q.sum() == 0:
        raise ValueError("nothing cannot be normalized")
    p /= p.sum()
    q /= q.sum()
    used = p > 0
    if (q[used] == 0).any():
        return math.inf
    return float((p[used] * torch.log(p[used] / q[used])).sum().clamp(min=0.0))
