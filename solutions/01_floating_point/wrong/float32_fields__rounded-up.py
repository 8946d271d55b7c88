# Mistake: rounds away from zero
# Rule: a number between two float32 numbers counts as the nearest one
def float32_fields(x):
    (pattern,) = struct.unpack(">I", struct.pack(">f", x))
    (nearest,) = struct.unpack(">f", struct.pack(">f", x))
    if abs(nearest) < abs(x) < math.inf:
        pattern += 1
    return pattern >> 31, pattern >> 23 & 0xFF, pattern & 0x7FFFFF
