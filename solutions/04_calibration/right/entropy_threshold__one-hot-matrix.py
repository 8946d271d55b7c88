# Way: levels by a matrix product
def entropy_threshold(histogram, num_bits=8):
    counts, edges = histogram[0].double(), histogram[1]
    if counts.sum() == 0:
        raise ValueError("no values")
    levels = 2 ** (num_bits - 1)
    divergences = {len(counts): math.inf}
    for i in range(levels, len(counts) + 1):
        p = torch.cat([counts[: i - 1], counts[i - 1 :].sum().reshape(1)])
        belongs = F.one_hot(torch.div(torch.arange(i) * levels, i, rounding_mode="floor"), levels).double()
        per_bin = (counts[:i] @ belongs) / ((p > 0).double() @ belongs).clamp(min=1)
        q = torch.where(p > 0, belongs @ per_bin, 0.0)
        if ((p > 0) & (q == 0)).any():
            continue
        p, q = p / p.sum(), q / q.sum()
        divergences[i] = (torch.special.xlogy(p, p) - torch.special.xlogy(p, torch.where(p > 0, q, 1.0))).sum().item()
    return edges[min(divergences, key=divergences.get)].item()
