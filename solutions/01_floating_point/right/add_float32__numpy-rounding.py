# Way: rounds through numpy's float32 at exponent 0
def add_float32(a, b):
    for value in (a, b):
        if math.isinf(value) or math.isnan(value):
            raise ValueError(value)

    def form(s, e):
        shift = max(math.frexp(s)[1] - 1, -126 - e) if s else -126 - e
        return math.ldexp(s, -shift), e + shift

    steps = {"a": form(a, 0), "b": form(b, 0)}
    e = max(steps["a"][1], steps["b"][1])
    steps["aligned"] = math.ldexp(steps["a"][0], steps["a"][1] - e), math.ldexp(steps["b"][0], steps["b"][1] - e), e
    steps["sum"] = steps["aligned"][0] + steps["aligned"][1], e
    steps["normalised"] = form(*steps["sum"])
    s = float(np.round(steps["normalised"][0] * 8388608) / 8388608)
    steps["rounded"] = form(s, steps["normalised"][1])
    s, e = steps["rounded"]
    steps["result"] = math.ldexp(s, e) if e < 128 else s * math.inf
    return steps
