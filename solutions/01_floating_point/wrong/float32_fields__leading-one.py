# Mistake: adds the leading one to the fraction
# Rule: fraction is the stored field
def float32_fields(x):
    (pattern,) = struct.unpack(">I", struct.pack(">f", x))
    sign = pattern >> 31
    exponent = pattern >> 23 & 0xFF
    fraction = pattern & 0x7FFFFF | 0x800000
    return sign, exponent, fraction
