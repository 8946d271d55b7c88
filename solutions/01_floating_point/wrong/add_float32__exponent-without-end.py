# Mistake: goes on below the exponent -126
# Rule: subnormal numbers keep the exponent -126
def add_float32(a, b):
    if not (math.isfinite(a) and math.isfinite(b)):
        raise ValueError("only finite numbers")

    def normalise(s, e):
        while abs(s) >= 2:
            s, e = s / 2, e + 1
        while abs(s) < 1 and (s or e > -126):
            s, e = s * 2, e - 1
        return s, e

    sa, ea = normalise(a, 0)
    sb, eb = normalise(b, 0)
    e = max(ea, eb)
    aligned_a = sa * 2.0 ** (ea - e)
    aligned_b = sb * 2.0 ** (eb - e)
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
