# Way: packs the fields and looks at them as float32
def float32_value(sign, exponent, fraction):
    if not (0 <= sign < 2 and 0 <= exponent < 256 and 0 <= fraction < 8388608):
        raise ValueError("fields")
    return float(np.uint32((sign << 31) + (exponent << 23) + fraction).view(np.float32))
