# Mistake: takes the sign from the value, so that -0.0 has none
# Rule: -0.0 has the sign 1
def float32_fields(x):
    (pattern,) = struct.unpack(">I", struct.pack(">f", x))
    sign = int(x < 0)
    exponent = pattern >> 23 & 0xFF
    fraction = pattern & 0x7FFFFF
    return sign, exponent, fraction
