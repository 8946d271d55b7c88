# Mistake: loops over the elements
# Rule: there is no Python loop over the elements
def symbolic_convert(value, word_length, exponent_bits):
    if not (1 <= exponent_bits <= 7 and exponent_bits + 2 <= word_length <= 16):
        raise ValueError("bits")
    m, bias = word_length - 1 - exponent_bits, 2 ** (exponent_bits - 1) - 1
    highest = max(2**exponent_bits - 2, 1) - bias
    largest = ((2.0 if exponent_bits > 1 else 1.0) - 2.0**-m) * 2.0**highest
    result = []
    for x in value.flatten().tolist():
        if math.isnan(x):
            result.append(x)
            continue
        x = max(-largest, min(largest, x))
        step = 2.0 ** (max(math.frexp(x)[1] - 1, 1 - bias) - m) if x else 1.0
        result.append(max(-largest, min(largest, round(x / step) * step)))
    return torch.tensor(result, dtype=torch.float32).reshape(value.shape)
