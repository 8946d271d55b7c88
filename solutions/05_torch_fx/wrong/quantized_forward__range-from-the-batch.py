# Mistake: takes the range from x instead of low and high
# Rule: the input's zero point is the whole number nearest to -low / scale
def quantized_forward(layer, x, low, high, num_bits, fake_quantize):
    if not 2 <= num_bits <= 8:
        raise ValueError(f"num_bits is 2 to 8, not {num_bits}")
    if low > high:
        raise ValueError(f"low {low} is greater than high {high}")
    if not isinstance(layer, (nn.Linear, nn.Conv2d)):
        raise TypeError(f"no rule for a {type(layer).__name__}")

    low, high, levels = min(x.min().item(), 0.0), max(x.max().item(), 0.0), 2**num_bits - 1
    scale = (high - low) / levels or 1.0
    x = fake_quantize(x, scale, round(-low / scale), 0, levels)

    largest = 2 ** (num_bits - 1) - 1
    scale = layer.weight.detach().abs().max().item() / largest or 1.0
    weight = fake_quantize(layer.weight, scale, 0, -largest, largest)

    if isinstance(layer, nn.Linear):
        return functional.linear(x, weight, layer.bias)
    return functional.conv2d(x, weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)
