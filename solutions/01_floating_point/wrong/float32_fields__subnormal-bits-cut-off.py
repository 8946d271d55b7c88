# Mistake: rounds normal numbers, but cuts subnormal ones off
# Rule: a subnormal number, too, counts as the nearest one, and a tiny number as 0
def float32_fields(x):
    (pattern,) = struct.unpack(">I", struct.pack(">f", x))
    if abs(x) < 2.0**-126:
        return pattern >> 31, 0, int(abs(x) * 2.0**149)
    return pattern >> 31, pattern >> 23 & 0xFF, pattern & 0x7FFFFF
