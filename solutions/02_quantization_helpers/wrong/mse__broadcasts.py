# Mistake: lets tensors of different shapes broadcast
# Rule: tensors of different shapes are refused
def mse(x, y):
    if x.numel() == 0:
        raise ValueError("the mean of nothing is not defined")
    return (x.double() - y.double()).square().mean().item()
