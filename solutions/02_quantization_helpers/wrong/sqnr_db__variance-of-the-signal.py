# Mistake: subtracts the mean of the signal first
# Rule: the SQNR is 10 log10 of
def sqnr_db(x, y):
    if x.shape != y.shape:
        raise ValueError("the shapes differ")
    if x.numel() == 0:
        raise ValueError("the mean of nothing is not defined")
    x, y = x.double(), y.double()
    signal = x.var(correction=0).item()
    noise = (x - y).square().mean().item()
    if noise == 0:
        return math.inf
    if signal == 0:
        return -math.inf
    return 10 * math.log10(signal / noise)
