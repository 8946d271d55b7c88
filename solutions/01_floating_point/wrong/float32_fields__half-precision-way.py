# Mistake: goes through float16
# Rule: exponent is the stored field, with the bias in it
def float32_fields(x):
    (pattern,) = struct.unpack(">I", struct.pack(">f", float(np.float16(x))))
    return pattern >> 31, pattern >> 23 & 0xFF, pattern & 0x7FFFFF
