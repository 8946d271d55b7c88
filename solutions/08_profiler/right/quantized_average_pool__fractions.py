# Way: channel by channel, with exact fractions
def quantized_average_pool(q, in_grid, out_grid, rounding_div=True):
    batch, channels = q.shape[:2]
    result = torch.zeros(batch, channels, dtype=torch.uint8)
    for n in range(batch):
        for c in range(channels):
            codes = q[n, c].flatten().tolist()
            total = sum(codes) - in_grid[1] * len(codes)
            value = Fraction(total * whole_factor(in_grid[0] / out_grid[0]), len(codes) * ONE)
            code = out_grid[1] + math.floor(value + Fraction(1, 2) if rounding_div else value)
            result[n, c] = max(0, min(255, code))
    return result
