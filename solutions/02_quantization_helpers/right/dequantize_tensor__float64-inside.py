# Way: all in float64, rounded once
def dequantize_tensor(q, scalefactor, zeropoint):
    return ((q.double() - torch.as_tensor(zeropoint).double()) * torch.as_tensor(scalefactor).double()).to(
        torch.float32
    )
