# Way: int.from_bytes and divmod
def float32_fields(x):
    pattern = int.from_bytes(struct.pack("<f", x), "little")
    rest, fraction = divmod(pattern, 2**23)
    sign, exponent = divmod(rest, 2**8)
    return sign, exponent, fraction
