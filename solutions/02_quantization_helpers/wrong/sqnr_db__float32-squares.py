# Mistake: squares in float32, where small values vanish
# Rule: however small or large
def sqnr_db(x, y):
    if x.shape != y.shape:
        raise ValueError("the shapes differ")
    if x.numel() == 0:
        raise ValueError("the mean of nothing is not defined")
    x, y = x.float(), y.float()
    signal = x.square().mean().item()
    noise = (x - y).square().mean().item()
    if noise == 0:
        return math.inf
    if signal == 0:
        return -math.inf
    return 10 * math.log10(signal / noise)
