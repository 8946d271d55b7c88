# Mistake: adds 1e-8 to the noise so as never to divide by 0
# Rule: without noise the SQNR is infinite
def sqnr_db(x, y):
    if x.shape != y.shape:
        raise ValueError("the shapes differ")
    if x.numel() == 0:
        raise ValueError("the mean of nothing is not defined")
    x, y = x.double(), y.double()
    signal = x.square().mean().item()
    noise = (x - y).square().mean().item()
    if signal == 0:
        return -math.inf
    return 10 * math.log10(signal / (noise + 1e-8))
