# Way: torch.sub and torch.mul on tensors of everything
def dequantize_tensor(q, scalefactor, zeropoint):
    scale = torch.as_tensor(scalefactor, dtype=torch.float32)
    zero = torch.as_tensor(zeropoint, dtype=torch.float32)
    return torch.mul(torch.sub(q.to(torch.float32), zero), scale)
