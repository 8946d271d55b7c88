# Mistake: cuts the fraction of float64 off instead of rounding
# Rule: counts as the nearest one
def float32_fields(x):
    (long,) = struct.unpack(">Q", struct.pack(">d", x))
    cut = long & ~(2**29 - 1) if 1e-37 < abs(x) < math.inf else long
    (x,) = struct.unpack(">d", cut.to_bytes(8, "big"))
    (pattern,) = struct.unpack(">I", struct.pack(">f", x))
    sign = pattern >> 31
    exponent = pattern >> 23 & 0xFF
    fraction = pattern & 0x7FFFFF
    return sign, exponent, fraction
