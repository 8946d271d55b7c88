# Mistake: returns the true exponent instead of the stored one
# Rule: exponent is the stored field
def float32_fields(x):
    (pattern,) = struct.unpack(">I", struct.pack(">f", x))
    sign = pattern >> 31
    exponent = (pattern >> 23 & 0xFF) - 127
    fraction = pattern & 0x7FFFFF
    return sign, exponent, fraction
