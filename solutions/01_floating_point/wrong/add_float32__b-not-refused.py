# Mistake: looks at a only, and halves an infinite b for ever
# Rule: no result within
def add_float32(a, b):
    if not (math.isfinite(a)):
        raise ValueError(f"only finite numbers can be added here, not {a} and {b}")

    def normalise(significand, exponent):
        while abs(significand) >= 2:
            significand, exponent = significand / 2, exponent + 1
        while abs(significand) < 1 and exponent > -126:
            significand, exponent = significand * 2, exponent - 1
        return significand, exponent

    a_significand, a_exponent = normalise(a, 0)
    b_significand, b_exponent = normalise(b, 0)
    exponent = max(a_exponent, b_exponent)
    a_aligned = a_significand * 2.0 ** (a_exponent - exponent)
    b_aligned = b_significand * 2.0 ** (b_exponent - exponent)
    total = a_aligned + b_aligned
    normalised = normalise(total, exponent)
    rounded = normalise(round(normalised[0] * 2**23) / 2**23, normalised[1])
    result = math.copysign(math.inf, total) if rounded[1] > 127 else rounded[0] * 2.0 ** rounded[1]
    return {
        "a": (a_significand, a_exponent),
        "b": (b_significand, b_exponent),
        "aligned": (a_aligned, b_aligned, exponent),
        "sum": (total, exponent),
        "normalised": normalised,
        "rounded": rounded,
        "result": result,
    }
