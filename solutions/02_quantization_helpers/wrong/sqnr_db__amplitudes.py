# Mistake: compares mean sizes, times 20
# Rule: the SQNR is 10 log10 of the signal's mean square over the error's mean square
def sqnr_db(x, y):
    if x.shape != y.shape:
        raise ValueError(f"shapes {tuple(x.shape)} and {tuple(y.shape)} differ")
    if x.numel() == 0:
        raise ValueError("the mean of nothing is not defined")
    x, y = x.double(), y.double()
    signal = x.abs().mean().item()
    noise = (x - y).abs().mean().item()
    if noise == 0:
        return math.inf
    if signal == 0:
        return -math.inf
    return 20 * math.log10(signal / noise)
