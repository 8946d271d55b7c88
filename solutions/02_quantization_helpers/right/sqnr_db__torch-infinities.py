# Way: lets torch.log10 make the infinities
def sqnr_db(x, y):
    if x.shape != y.shape or x.numel() < 1:
        raise ValueError("x and y need one shape and at least one element")
    error = (x.double() - y.double()).pow(2).mean()
    if error == 0:
        return math.inf
    return (10 * torch.log10(x.double().pow(2).mean() / error)).item()
