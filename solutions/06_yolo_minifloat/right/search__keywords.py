# Way: hands everything over by keyword
def search(data, word_length, convert=None, measure=None):
    convert, measure = convert or symbolic_convert, measure or difference
    if not 3 <= word_length <= 16 or data.numel() == 0 or not bool(torch.isfinite(data).all()):
        raise ValueError("cannot search")
    best = (math.inf, 0)
    for e in range(1, min(7, word_length - 2) + 1):
        converted = convert(value=data, word_length=word_length, exponent_bits=e)
        best = min(best, (measure(data_q=converted, data_origin=data), e))
    return best[1]
