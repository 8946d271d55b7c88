# Way: a loop over numbers
def kl_divergence(p, q):
    if p.shape != q.shape:
        raise ValueError("shapes")
    p, q = p.tolist(), q.tolist()
    if any(not v >= 0 for v in p + q) or sum(p) == 0 or sum(q) == 0:
        raise ValueError("numbers")
    total_p, total_q = math.fsum(p), math.fsum(q)
    terms = []
    for a, b in zip(p, q, strict=True):
        if a == 0:
            continue
        if b == 0:
            return math.inf
        terms.append(a / total_p * (math.log(a) - math.log(total_p) - math.log(b) + math.log(total_q)))
    return max(math.fsum(terms), 0.0)
