# Mistake: prints the fields and returns nothing
# Rule: is a return missing
def float32_fields(x):
    (pattern,) = struct.unpack(">I", struct.pack(">f", x))
    print(pattern >> 31, pattern >> 23 & 0xFF, pattern & 0x7FFFFF)
