# Mistake: compares only the number of elements
# Rule: tensors of different shapes are refused
def mse(x, y):
    if x.numel() != y.numel():
        raise ValueError("the shapes differ")
    if x.numel() == 0:
        raise ValueError("the mean of nothing is not defined")
    return (x.double() - y.double()).square().mean().item()
