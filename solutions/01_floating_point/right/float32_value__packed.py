# Way: by the bits themselves
def float32_value(sign, exponent, fraction):
    if sign >> 1 or exponent >> 8 or fraction >> 23:
        raise ValueError("a field is out of its range")
    pattern = (sign << 31) | (exponent << 23) | fraction
    return struct.unpack("<f", struct.pack("<I", pattern))[0]
