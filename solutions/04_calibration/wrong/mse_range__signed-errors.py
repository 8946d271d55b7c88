# Mistake: lets positive and negative errors cancel
# Rule: the candidate with the least sum of n (Q(c) - c)^2 wins
def mse_range(histogram, num_bits=8):
    counts, edges = histogram
    if counts.sum() == 0:
        raise ValueError("the histogram holds no value")
    middles = (edges[:-1] + edges[1:]) / 2
    lowest, highest = min(float(edges[0]), 0.0), max(float(edges[-1]), 0.0)
    best, best_error = None, math.inf
    for k in range(1, 101):
        low, high = k / 100 * lowest, k / 100 * highest
        grid = scale_and_zeropoint(low, high, num_bits)
        back = dequantize(quantize(middles, *grid, num_bits), *grid)
        error = abs(float((counts * (back - middles)).sum()))
        if error < best_error:
            best, best_error = (low, high), error
    return best
