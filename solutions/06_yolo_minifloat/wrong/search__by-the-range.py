# Mistake: guesses from the largest number
# Rule: search converts by the convert that it is handed
def search(data, word_length, convert=None, measure=None):
    convert, measure = convert or symbolic_convert, measure or difference
    if not 3 <= word_length <= 16:
        raise ValueError(f"word_length must lie in 3..16, not {word_length}")
    if data.numel() == 0 or not data.isfinite().all():
        raise ValueError("a search needs data, and finite ones")
    tried = range(1, min(7, word_length - 2) + 1)
    return min(max(1, 1 + math.ceil(math.log2(1 + abs(math.log2(float(data.abs().max())))))), tried[-1])
