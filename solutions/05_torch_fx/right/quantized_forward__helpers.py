# Way: two helpers for the grids, keyword arguments for the convolution
def quantized_forward(layer, x, low, high, num_bits, fake_quantize):
    def affine():
        a, b = sorted((0.0, float(low)))[0], sorted((0.0, float(high)))[1]
        top = (1 << num_bits) - 1
        scale = 1.0 if a == b else (b - a) / top
        return scale, math.floor(-a / scale + 0.5), 0, top

    def symmetric(w):
        top = (1 << (num_bits - 1)) - 1
        largest = max(w.max().item(), -w.min().item())
        return (1.0 if largest == 0 else largest / top), 0, -top, top

    if num_bits < 2 or num_bits > 8:
        raise ValueError("bits")
    if high < low:
        raise ValueError("range")
    if isinstance(layer, nn.Conv2d):
        rest = {name: getattr(layer, name) for name in ("bias", "stride", "padding", "dilation", "groups")}
        run = functional.conv2d
    elif isinstance(layer, nn.Linear):
        rest, run = {"bias": layer.bias}, functional.linear
    else:
        raise TypeError("layer")
    return run(fake_quantize(x, *affine()), fake_quantize(layer.weight, *symmetric(layer.weight.detach())), **rest)
