# Way: subtracts in int64, then multiplies
def dequantize_tensor(q, scalefactor, zeropoint):
    if isinstance(zeropoint, torch.Tensor):
        zeropoint = zeropoint.long()
    distance = q.long() - zeropoint
    return (distance.double() * scalefactor).to(torch.float32)
