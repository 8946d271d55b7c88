# Mistake: squares in the dtype of the tensors
# Rule: the SQNR does not depend on the unit, however small or large: squares are taken in float64
def sqnr_db(x, y):
    if x.shape != y.shape:
        raise ValueError(f"shapes {tuple(x.shape)} and {tuple(y.shape)} differ")
    if x.numel() == 0:
        raise ValueError("the mean of nothing is not defined")
    x, y = (x, y) if x.is_floating_point() and x.dtype == y.dtype else (x.double(), y.double())
    signal = x.square().mean().item()
    noise = (x - y).square().mean().item()
    if noise == 0:
        return math.inf
    if signal == 0:
        return -math.inf
    return 10 * math.log10(signal / noise)
