# Mistake: a number that is not 0 keeps at least the last bit
# Rule: a subnormal number, too, counts as the nearest one, and a tiny number as 0
def float32_fields(x):
    (pattern,) = struct.unpack(">I", struct.pack(">f", x))
    if x != 0 and not pattern & 0x7FFFFFFF:
        pattern |= 1
    return pattern >> 31, pattern >> 23 & 0xFF, pattern & 0x7FFFFF
