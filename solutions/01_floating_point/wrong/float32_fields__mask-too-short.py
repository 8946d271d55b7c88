# Mistake: keeps only 7 bits of the exponent
# Rule: exponent is the stored field
def float32_fields(x):
    (pattern,) = struct.unpack(">I", struct.pack(">f", x))
    sign = pattern >> 31
    exponent = pattern >> 23 & 0x7F
    fraction = pattern & 0x7FFFFF
    return sign, exponent, fraction
