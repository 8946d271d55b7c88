# Mistake: never more than 200 dB
# Rule: without noise the SQNR is infinite
def sqnr_db(x, y):
    if x.shape != y.shape:
        raise ValueError(f"shapes {tuple(x.shape)} and {tuple(y.shape)} differ")
    if x.numel() == 0:
        raise ValueError("the mean of nothing is not defined")
    x, y = x.double(), y.double()
    signal = x.square().mean().item()
    noise = (x - y).square().mean().item()
    if noise == 0:
        return 200.0
    if signal == 0:
        return -math.inf
    return min(10 * math.log10(signal / noise), 200.0)
