# Mistake: takes a ratio for each row and averages the decibels
# Rule: signal and noise are mean squares over all elements
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
    if signal == 0:
        return -math.inf
    rows = x.square().mean(-1) / (x - y).square().mean(-1)
    return (10 * rows.log10()).mean().item()
