# Way: in numpy, the widest candidate first
def mse_range(histogram, num_bits=8):
    counts, edges = (t.numpy().astype(np.float64) for t in histogram)
    if counts.sum() <= 0:
        raise ValueError("no values")
    c = edges[:-1] + np.diff(edges) / 2
    a, b = min(edges[0], 0.0), max(edges[-1], 0.0)

    def error(k):
        step, zero = scale_and_zeropoint(k / 100 * a, k / 100 * b, num_bits)
        q = np.clip(np.rint(c / step) + zero, 0, 2**num_bits - 1)
        return np.dot(counts, (step * (q - zero) - c) ** 2)

    k = min(range(100, 0, -1), key=error)
    return float(k / 100 * a), float(k / 100 * b)
