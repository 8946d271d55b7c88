# Way: torch.func.functional_call with another weight
def quantized_forward(layer, x, low, high, num_bits, fake_quantize):
    if num_bits not in range(2, 9) or low > high:
        raise ValueError(f"{num_bits} bits over [{low}, {high}] is no grid")
    if not issubclass(type(layer), (nn.Linear, nn.Conv2d)):
        raise TypeError("Linear or Conv2d")
    top = 2 ** (num_bits - 1) - 1
    size = float(layer.weight.detach().abs().max())
    weight = fake_quantize(layer.weight, size / top if size else 1.0, 0, -top, top)
    low, high = min(0.0, low), max(0.0, high)
    step = (high - low) / (2**num_bits - 1) if high > low else 1.0
    zero_point = int(np.rint(-low / step))
    return torch.func.functional_call(
        layer, {"weight": weight}, (fake_quantize(x, step, zero_point, 0, 2**num_bits - 1),)
    )
