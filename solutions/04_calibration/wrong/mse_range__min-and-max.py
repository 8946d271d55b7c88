# Mistake: takes the whole range
# Rule: the candidate with the least sum of n (Q(c) - c)^2 wins
def mse_range(histogram, num_bits=8):
    counts, edges = histogram
    if counts.sum() == 0:
        raise ValueError("the histogram holds no value")
    return min(float(edges[0]), 0.0), max(float(edges[-1]), 0.0)
