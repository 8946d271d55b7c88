# Mistake: refuses NaN
# Rule: NaN has the exponent 255 and a fraction that is not 0
def float32_fields(x):
    if math.isnan(x):
        raise ValueError("NaN")
    (pattern,) = struct.unpack(">I", struct.pack(">f", x))
    return pattern >> 31, pattern >> 23 & 0xFF, pattern & 0x7FFFFF
