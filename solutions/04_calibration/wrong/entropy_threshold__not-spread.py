# Mistake: gives each bin its level's whole total
# Rule: the threshold is edges[i] for the i with the least divergence
def entropy_threshold(histogram, num_bits=8):
    counts, edges = histogram
    counts = counts.double()
    if counts.sum() == 0:
        raise ValueError("the histogram holds no value")
    levels, bins = 2 ** (num_bits - 1), len(counts)
    best, least = float(edges[-1]), math.inf
    for i in range(levels, bins + 1):
        p = counts[:i].clone()
        p[-1] += counts[i:].sum()
        used = p > 0
        level = torch.arange(i) * levels // i
        total = torch.zeros(levels, dtype=torch.float64).index_add(0, level, counts[:i])
        q = total[level][used]
        if (q == 0).any():
            continue
        p = p[used]
        divergence = float((p / p.sum() * torch.log((p / p.sum()) / (q / q.sum()))).sum())
        if divergence < least:
            best, least = float(edges[i]), divergence
    return best
