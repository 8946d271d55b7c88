# Mistake: asks whether x is below 0, through the text
# Rule: zero has the exponent 0 and the fraction 0, and -0.0 has the sign 1
def float32_fields(x):
    (pattern,) = struct.unpack(">I", struct.pack(">f", x))
    return int(str(x).startswith("-") and x != 0), pattern >> 23 & 0xFF, pattern & 0x7FFFFF
