# Way: through the hexadecimal text
def float32_fields(x):
    bits = f"{int(struct.pack('!f', x).hex(), 16):032b}"
    return int(bits[0], 2), int(bits[1:9], 2), int(bits[9:], 2)
