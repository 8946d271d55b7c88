# Mistake: the document's: range starts at 0
# Rule: for 8-bit words 1 to 6 exponent bits are tried, all of them and no others
def search(data, word_length, convert=None, measure=None):
    convert, measure = convert or symbolic_convert, measure or difference
    if not 3 <= word_length <= 16:
        raise ValueError(f"word_length must lie in 3..16, not {word_length}")
    if data.numel() == 0 or not data.isfinite().all():
        raise ValueError("a search needs data, and finite ones")
    tried = range(0, min(7, word_length - 2) + 1)
    return min(tried, key=lambda e: measure(convert(data, word_length, e), data))
