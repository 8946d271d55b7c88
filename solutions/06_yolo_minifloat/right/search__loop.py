# Way: with a loop that remembers the best
def search(data, word_length, convert=None, measure=None):
    convert, measure = convert or symbolic_convert, measure or difference
    if word_length < 3 or word_length > 16:
        raise ValueError(f"word_length {word_length}")
    if len(data.flatten()) == 0:
        raise ValueError("empty")
    if torch.isnan(data).any() or torch.isinf(data).any():
        raise ValueError("not finite")
    best, least = None, math.inf
    for exponent_bits in range(1, 8):
        if word_length - 1 - exponent_bits < 1:
            break
        found = measure(convert(data, word_length, exponent_bits), data)
        if found < least:
            best, least = exponent_bits, found
    return best
