# Way: with NumPy, from the largest split to the smallest
def search(data, word_length, convert=None, measure=None):
    convert, measure = convert or symbolic_convert, measure or difference
    if not (3 <= word_length <= 16):
        raise ValueError("word_length")
    if not np.isfinite(data.numpy()).all() or data.nelement() < 1:
        raise ValueError("data")
    differences = {e: measure(convert(data, word_length, e), data) for e in range(min(7, word_length - 2), 0, -1)}
    ordered = [differences[e] for e in sorted(differences)]
    return int(np.argmin(ordered)) + 1
