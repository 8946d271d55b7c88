# Mistake: infinity and NaN look the same
# Rule: an infinity has the exponent 255 and the fraction 0
def float32_fields(x):
    (pattern,) = struct.unpack(">I", struct.pack(">f", x))
    if not math.isfinite(x):
        return pattern >> 31, 255, 2**22
    return pattern >> 31, pattern >> 23 & 0xFF, pattern & 0x7FFFFF
