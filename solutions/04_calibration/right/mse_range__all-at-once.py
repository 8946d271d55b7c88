# Way: all candidates in one tensor
def mse_range(histogram, num_bits=8):
    counts, edges = histogram
    if not counts.any():
        raise ValueError("no values")
    c = 0.5 * (edges[1:] + edges[:-1]).double()
    share = torch.linspace(0.01, 1, 100, dtype=torch.float64).unsqueeze(1)
    low = share * min(edges[0].item(), 0)
    high = share * max(edges[-1].item(), 0)
    levels = 2**num_bits - 1
    step = (high - low) / levels
    zero = torch.round(-low / step)
    back = ((c / step).round() + zero).clamp(0, levels).sub(zero).mul(step)
    error = (back - c).square().mul(counts).sum(dim=1) / counts.sum()
    k = int(error.argmin())
    return low[k].item(), high[k].item()
