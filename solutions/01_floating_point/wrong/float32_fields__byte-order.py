# Mistake: reads the bytes in the wrong order
# Rule: the bytes are read in the order in which they were written
def float32_fields(x):
    (pattern,) = struct.unpack(">I", struct.pack("<f", x))
    sign = pattern >> 31
    exponent = pattern >> 23 & 0xFF
    fraction = pattern & 0x7FFFFF
    return sign, exponent, fraction
