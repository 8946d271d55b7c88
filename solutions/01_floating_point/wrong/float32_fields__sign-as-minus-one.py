# Mistake: reads the pattern as a signed number, so that the sign is -1
# Rule: sign is the first bit
def float32_fields(x):
    (pattern,) = struct.unpack(">i", struct.pack(">f", x))
    sign = pattern >> 31
    exponent = pattern >> 23 & 0xFF
    fraction = pattern & 0x7FFFFF
    return sign, exponent, fraction
