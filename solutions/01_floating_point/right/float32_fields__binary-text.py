# Way: by the digits as text
def float32_fields(x):
    digits = "".join(f"{byte:08b}" for byte in struct.pack("!f", x))
    return int(digits[0], 2), int(digits[1:9], 2), int(digits[9:], 2)
