# Mistake: keeps the last bit of the exponent in the fraction
# Rule: fraction is the stored field
def float32_fields(x):
    (pattern,) = struct.unpack(">I", struct.pack(">f", x))
    sign = pattern >> 31
    exponent = pattern >> 23 & 0xFF
    fraction = pattern & 0xFFFFFF
    return sign, exponent, fraction
