# Mistake: puts a small number in the place of 0
# Rule: the divergence is infinite where q is 0 and p is not
def kl_divergence(p, q):
    if p.shape != q.shape:
        raise ValueError(f"the shapes {tuple(p.shape)} and {tuple(q.shape)} differ")
    p, q = p.double(), q.double()
    if not ((p >= 0).all() and (q >= 0).all()):
        raise ValueError("counts and probabilities are not negative, nor NaN")
    if p.sum() == 0 or q.sum() == 0:
        raise ValueError("nothing cannot be normalized")
    p, q = p / p.sum(), q / q.sum() + 1e-12
    used = p > 0
    if (q[used] == 0).any():
        return math.inf
    return float((p[used] * torch.log(p[used] / q[used])).sum().clamp(min=0.0))
