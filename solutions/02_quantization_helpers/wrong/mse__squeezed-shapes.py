# Mistake: compares shapes without their ones
# Rule: tensors of different shapes are refused with a ValueError
def mse(x, y):
    if x.squeeze().shape != y.squeeze().shape:
        raise ValueError(f"shapes {tuple(x.shape)} and {tuple(y.shape)} differ")
    if x.numel() == 0:
        raise ValueError("the mean of nothing is not defined")
    return (x.double() - y.double().reshape(x.shape)).square().mean().item()
