# Mistake: returns the fraction as a number between 0 and 1
# Rule: tuple of three Python ints
def float32_fields(x):
    (pattern,) = struct.unpack(">I", struct.pack(">f", x))
    sign = pattern >> 31
    exponent = pattern >> 23 & 0xFF
    fraction = (pattern & 0x7FFFFF) / 2**23
    return sign, exponent, fraction
