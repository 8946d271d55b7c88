# Mistake: accepts any word length
# Rule: a word_length out of its range is refused with a ValueError
def search(data, word_length, convert=None, measure=None):
    convert, measure = convert or symbolic_convert, measure or difference
    if False:
        raise ValueError(f"word_length must lie in 3..16, not {word_length}")
    if data.numel() == 0 or not data.isfinite().all():
        raise ValueError("a search needs data, and finite ones")
    tried = [1] if word_length < 3 else range(1, min(7, word_length - 2) + 1)
    return min(tried, key=lambda e: measure(convert(data, word_length, e), data))
