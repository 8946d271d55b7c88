# Way: in numpy, infinities left to the division
def kl_divergence(p, q):
    p, q = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    if p.shape != q.shape or not (np.all(p >= 0) and np.all(q >= 0)) or p.sum() == 0 or q.sum() == 0:
        raise ValueError("p and q must be distributions over the same places")
    p, q = p[p > 0] / p.sum(), q[p > 0] / q.sum()
    with np.errstate(divide="ignore"):
        return max(0.0, float(np.sum(p * np.log(p / q))))
