# Mistake: compares numbers of elements
# Rule: tensors of different shapes are refused with a ValueError
def sqnr_db(x, y):
    if x.numel() != y.numel():
        raise ValueError(f"shapes {tuple(x.shape)} and {tuple(y.shape)} differ")
    if x.numel() == 0:
        raise ValueError("the mean of nothing is not defined")
    x, y = x.double(), y.double().reshape(x.shape)
    signal = x.square().mean().item()
    noise = (x - y).square().mean().item()
    if noise == 0:
        return math.inf
    if signal == 0:
        return -math.inf
    return 10 * math.log10(signal / noise)
