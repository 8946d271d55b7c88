# Mistake: goes row by row, and a single number has no rows
# Rule: a single number is a tensor too
def mse(x, y):
    if x.shape != y.shape:
        raise ValueError(f"shapes {tuple(x.shape)} and {tuple(y.shape)} differ")
    if x.numel() == 0:
        raise ValueError("the mean of nothing is not defined")
    return float(sum(((a - b) ** 2).mean() for a, b in zip(x.double(), y.double(), strict=True)) / len(x))
