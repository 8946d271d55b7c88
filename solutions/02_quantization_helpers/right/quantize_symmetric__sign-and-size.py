# Way: rounds the size half up, then gives it back its sign
def quantize_symmetric(x, num_bits=8):
    if num_bits not in range(2, 17):
        raise ValueError(f"{num_bits} bits")
    if x.numel() == 0 or x.isnan().any() or x.isinf().any():
        raise ValueError("x is empty or not finite")
    x = x.to(torch.float64)
    top = (1 << (num_bits - 1)) - 1
    reach = max(float(x.max()), -float(x.min()))
    step = reach / top if reach else 1.0
    size = torch.floor(x.abs() / step + 0.5).clamp(max=top)
    return (x.sign() * size).float(), step, 0
