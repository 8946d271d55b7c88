# Way: from the fields of the bit pattern, rounding by numpy
def add_float32(a, b):
    for x in (a, b):
        if math.isinf(x) or math.isnan(x):
            raise ValueError(f"{x} cannot be added here")

    def split(x):
        pattern = int(np.array(x, dtype=np.float32).view(np.uint32))
        field, fraction = pattern >> 23 & 255, pattern & (2**23 - 1)
        significand = fraction / 2**23 + (1 if field else 0)
        return (-significand if pattern >> 31 else significand), max(field, 1) - 127

    a_part, b_part = split(a), split(b)
    e = a_part[1] if a_part[1] > b_part[1] else b_part[1]
    shifted = [s / 2.0 ** (e - own) for s, own in (a_part, b_part)]
    s = shifted[0] + shifted[1]
    total = s
    power = e
    if abs(s) >= 2:
        s, power = s / 2, power + 1
    while power > -126 and -1 < s < 1:
        s, power = 2 * s, power - 1
    near = float(np.rint(s * 2.0**23)) / 2.0**23
    final = (near / 2, power + 1) if abs(near) >= 2 else (near, power)
    with np.errstate(over="ignore"):
        result = float(np.float32(a) + np.float32(b))
    return {
        "a": a_part,
        "b": b_part,
        "aligned": (shifted[0], shifted[1], e),
        "sum": (total, e),
        "normalised": (s, power),
        "rounded": final,
        "result": result,
    }
