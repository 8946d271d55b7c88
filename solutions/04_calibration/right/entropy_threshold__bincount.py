# Way: with numpy's bincount and a divergence of its own
def entropy_threshold(histogram, num_bits=8):
    counts, edges = histogram[0].numpy(), histogram[1].numpy()
    if counts.max() == 0:
        raise ValueError("no values")
    levels = 1 << (num_bits - 1)

    def divergence(i):
        p = counts[:i].copy()
        p[i - 1] += counts[i:].sum()
        where = np.flatnonzero(p)
        level = where * levels // i
        total = np.bincount(np.arange(i) * levels // i, weights=counts[:i], minlength=levels)
        q = total[level] / np.bincount(level, minlength=levels)[level]
        if np.any(q == 0):
            return np.inf
        p, q = p[where] / p.sum(), q / q.sum()
        return np.dot(p, np.log(p) - np.log(q))

    tried = list(range(levels, len(counts) + 1))
    if not tried:
        return float(edges[-1])
    return float(edges[min(tried, key=divergence)])
