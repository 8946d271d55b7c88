# Mistake: the sign is True or False
# Rule: the result is a tuple of three Python ints
def float32_fields(x):
    (pattern,) = struct.unpack(">I", struct.pack(">f", x))
    return bool(pattern >> 31), pattern >> 23 & 0xFF, pattern & 0x7FFFFF
