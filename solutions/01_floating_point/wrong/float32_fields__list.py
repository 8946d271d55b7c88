# Mistake: returns a list
# Rule: tuple of three Python ints
def float32_fields(x):
    (pattern,) = struct.unpack(">I", struct.pack(">f", x))
    sign = pattern >> 31
    exponent = pattern >> 23 & 0xFF
    fraction = pattern & 0x7FFFFF
    return [sign, exponent, fraction]
