# Way: lets the hardware's own addition round
def symbolic_convert(value, word_length, exponent_bits):
    m = word_length - 1 - exponent_bits
    if not 1 <= exponent_bits <= 7 or m < 1 or word_length > 16:
        raise ValueError("no such format")
    bias = 2 ** (exponent_bits - 1) - 1
    largest = 2.0 - 2.0 ** (1 - m) if exponent_bits == 1 else 2.0 ** (bias + 1) - 2.0 ** (bias - m)
    x = value.clamp(-largest, largest)
    binade = torch.ldexp(torch.ones_like(x), torch.frexp(x.nan_to_num())[1] - 1).clamp(min=2.0 ** (1 - bias))
    shift = binade * (1.5 * 2.0 ** (23 - m))
    return ((x + shift) - shift).clamp(-largest, largest)
