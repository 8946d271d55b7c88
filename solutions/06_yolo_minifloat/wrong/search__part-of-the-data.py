# Mistake: looks at the first hundred numbers only
# Rule: the result is the number of exponent bits with the least difference
def search(data, word_length, convert=None, measure=None):
    convert, measure = convert or symbolic_convert, measure or difference
    if not 3 <= word_length <= 16:
        raise ValueError(f"word_length must lie in 3..16, not {word_length}")
    if data.numel() == 0 or not data.isfinite().all():
        raise ValueError("a search needs data, and finite ones")
    data = data.flatten()[:100]
    tried = range(1, min(7, word_length - 2) + 1)
    return min(tried, key=lambda e: measure(convert(data, word_length, e), data))
