# Mistake: asks for the signal first
# Rule: without noise the SQNR is infinite
def sqnr_db(x, y):
    if x.shape != y.shape:
        raise ValueError(f"shapes {tuple(x.shape)} and {tuple(y.shape)} differ")
    if x.numel() == 0:
        raise ValueError("the mean of nothing is not defined")
    x, y = x.double(), y.double()
    signal = x.square().mean().item()
    noise = (x - y).square().mean().item()
    if signal == 0:
        return -math.inf
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise)
