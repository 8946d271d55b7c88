# Way: math.ldexp of a whole significand
def float32_value(sign, exponent, fraction):
    if sign not in range(2) or exponent not in range(256) or fraction not in range(2**23):
        raise ValueError("fields")
    if exponent == 255:
        size = math.inf if fraction == 0 else math.nan
    elif exponent == 0:
        size = math.ldexp(fraction, -149)
    else:
        size = math.ldexp(2**23 + fraction, exponent - 150)
    return math.copysign(size, 0.5 - sign)
