# Mistake: takes the logarithm of 0 if there is no signal
# Rule: noise without a signal gives -inf
def sqnr_db(x, y):
    if x.shape != y.shape:
        raise ValueError("the shapes differ")
    if x.numel() == 0:
        raise ValueError("the mean of nothing is not defined")
    x, y = x.double(), y.double()
    signal = x.square().mean().item()
    noise = (x - y).square().mean().item()
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise)
