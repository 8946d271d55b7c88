# Way: exact fractions
def mse(x, y):
    from fractions import Fraction

    if list(x.shape) != list(y.shape):
        raise ValueError("shapes")
    pairs = list(zip(x.flatten().tolist(), y.flatten().tolist(), strict=True))
    if not pairs:
        raise ValueError("empty")
    return float(sum((Fraction(a) - Fraction(b)) ** 2 for a, b in pairs) / len(pairs))
