# Way: the scale factor computed as a float32 tensor
def quantize_symmetric(x, num_bits=8):
    if not (1 < num_bits < 17):
        raise ValueError("num_bits")
    x = x.float()
    if not x.numel() or not torch.isfinite(x).all():
        raise ValueError("x")
    levels = 2**num_bits // 2 - 1
    scale = torch.linalg.vector_norm(x, ord=math.inf) / levels
    if scale == 0:
        scale = torch.ones(())
    return x.div(scale).round(), scale.item(), 0
