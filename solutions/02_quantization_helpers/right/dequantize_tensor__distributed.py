# Way: scale times code minus scale times zero, in float64
def dequantize_tensor(q, scalefactor, zeropoint):
    scale = torch.as_tensor(scalefactor, dtype=torch.float64)
    return (scale * q.double() - scale * torch.as_tensor(zeropoint, dtype=torch.float64)).float()
