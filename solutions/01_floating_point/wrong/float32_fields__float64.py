# Mistake: takes the fields of float64
# Rule: exponent is the stored field
def float32_fields(x):
    (pattern,) = struct.unpack(">Q", struct.pack(">d", x))
    sign = pattern >> 63
    exponent = pattern >> 52 & 0x7FF
    fraction = pattern & (2**52 - 1)
    return sign, exponent, fraction
