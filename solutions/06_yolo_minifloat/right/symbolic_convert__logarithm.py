# Way: by the logarithm
def symbolic_convert(value, word_length, exponent_bits):
    if exponent_bits < 1 or exponent_bits > 7 or word_length > 16 or word_length - exponent_bits < 2:
        raise ValueError(f"{word_length} bits with {exponent_bits} for the exponent")
    m = word_length - exponent_bits - 1
    bias = 2.0 ** (exponent_bits - 1) - 1
    top = 2.0**exponent_bits - 2 - bias if exponent_bits > 1 else 1.0
    x = value.double()
    k = torch.floor(torch.log2(x.abs())).clamp(1 - bias, top)
    step = torch.pow(2.0, k - m)
    largest = 2.0 ** (top + 1) - 2.0 ** (top - m) if exponent_bits > 1 else 2.0 - 2.0 ** (1 - m)
    return torch.clamp(torch.round(x / step) * step, -largest, largest).float()
