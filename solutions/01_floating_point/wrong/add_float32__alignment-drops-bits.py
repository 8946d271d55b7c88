# Mistake: cuts the aligned significands to 23 bits of fraction
# Rule: aligning drops no bit
def add_float32(a, b):
    if not (math.isfinite(a) and math.isfinite(b)):
        raise ValueError("only finite numbers")

    def normalise(s, e):
        while abs(s) >= 2:
            s, e = s / 2, e + 1
        while abs(s) < 1 and e > -126:
            s, e = s * 2, e - 1
        return s, e

    sa, ea = normalise(a, 0)
    sb, eb = normalise(b, 0)
    e = max(ea, eb)
    aligned_a = math.trunc(sa * 2.0 ** (ea - e) * 2**23) / 2**23
    aligned_b = math.trunc(sb * 2.0 ** (eb - e) * 2**23) / 2**23
    total = aligned_a + aligned_b
    sn, en = normalise(total, e)
    sr, er = round(sn * 2**23) / 2**23, en
    if abs(sr) == 2:
        sr, er = sr / 2, er + 1
    result = math.copysign(math.inf, sr) if er > 127 else sr * 2.0**er
    return {
        "a": (sa, ea),
        "b": (sb, eb),
        "aligned": (aligned_a, aligned_b, e),
        "sum": (total, e),
        "normalised": (sn, en),
        "rounded": (sr, er),
        "result": result,
    }
