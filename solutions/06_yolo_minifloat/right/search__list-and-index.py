# Way: with a list of all differences
def search(data, word_length, convert=None, measure=None):
    convert, measure = convert or symbolic_convert, measure or difference
    if word_length not in range(3, 17) or not data.numel() or not torch.isfinite(data).all():
        raise ValueError("cannot search")
    most = word_length - 2 if word_length < 9 else 7
    differences = []
    for exponent_bits in range(1, most + 1):
        differences.append(float(measure(convert(data, word_length, exponent_bits), data)))
    return differences.index(min(differences)) + 1
