# Way: with frexp and ldexp, without loops
def add_float32(a, b):
    if not math.isfinite(a + b) and not (abs(a) < math.inf and abs(b) < math.inf):
        raise ValueError("infinities and NaN are left out")

    def split(x, extra=0):
        exponent = max(math.frexp(x)[1] - 1 + extra, -126) if x else -126
        return math.ldexp(x, extra - exponent), exponent

    steps = {"a": split(a), "b": split(b)}
    top = max(steps["a"][1], steps["b"][1])
    left, right = math.ldexp(a, -top), math.ldexp(b, -top)
    steps["aligned"] = (left, right, top)
    steps["sum"] = (left + right, top)
    steps["normalised"] = significand, exponent = split(left + right, top)
    significand = round(math.ldexp(significand, 23)) / 8388608
    if significand in (2.0, -2.0):
        significand, exponent = significand / 2, exponent + 1
    steps["rounded"] = significand, exponent
    if exponent > 127:
        steps["result"] = math.inf if significand > 0 else -math.inf
    else:
        steps["result"] = math.ldexp(significand, exponent)
    return steps
