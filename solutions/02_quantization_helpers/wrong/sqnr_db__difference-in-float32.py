# Mistake: subtracts before converting
# Rule: x and y may have any dtype of the docstring; both are converted to float64 before the subtraction
def sqnr_db(x, y):
    if x.shape != y.shape:
        raise ValueError(f"shapes {tuple(x.shape)} and {tuple(y.shape)} differ")
    if x.numel() == 0:
        raise ValueError("the mean of nothing is not defined")
    noise = (x - y).double().square().mean().item()
    x, y = x.double(), y.double()
    signal = x.square().mean().item()
    if noise == 0:
        return math.inf
    if signal == 0:
        return -math.inf
    return 10 * math.log10(signal / noise)
