# Way: with prefix sums, levels as slices
def entropy_threshold(histogram, num_bits=8):
    counts, edges = (t.numpy() for t in histogram)
    if not counts.any():
        raise ValueError("no values")
    levels = 2 ** (num_bits - 1)
    below = np.concatenate([[0], np.cumsum(counts)]).astype(float)
    filled = np.concatenate([[0], np.cumsum(counts > 0)])
    best = (math.inf, -edges[-1])
    for i in range(levels, len(counts) + 1):
        starts = -(-np.arange(levels + 1) * i // levels)
        total, used = np.diff(below[starts]), np.diff(filled[starts])
        outside = below[-1] - below[i]
        used[-1] += outside > 0 and counts[i - 1] == 0
        p = counts[:i].astype(float)
        p[-1] += outside
        mean = np.repeat(total / np.maximum(used, 1), np.diff(starts))
        p, q = p[p > 0], mean[p > 0]
        if q.min() > 0:
            divergence = np.sum(p * np.log(p / q)) / below[-1] + math.log(q.sum() / below[-1])
            best = min(best, (divergence, edges[i]))
    return float(abs(best[1]))
