# Way: one bin after the other, for all candidates at once, in units of the range
def mse_range(histogram, num_bits=8):
    counts, edges = (part.tolist() for part in histogram)
    if not any(counts):
        raise ValueError("no values")
    a, b = min(0.0, edges[0]), max(0.0, edges[-1])
    ranges = [(a * k / 100, b * k / 100) for k in range(1, 101)]
    steps, zeros = np.array([scale_and_zeropoint(*ends, num_bits) for ends in ranges]).T
    errors = np.zeros(100)
    for n, left, right in zip(counts, edges[:-1], edges[1:], strict=True):
        if n:
            middle = (left + right) / 2
            codes = np.clip(np.rint(middle / steps) + zeros, 0, 2**num_bits - 1)
            errors += n * ((steps * (codes - zeros) - middle) / (b - a)) ** 2
    return ranges[int(errors.argmin())]
