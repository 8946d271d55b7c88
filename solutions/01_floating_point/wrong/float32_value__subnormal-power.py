# Mistake: takes the power 2^-127 for subnormal numbers
# Rule: a subnormal number is (-1)^sign
def float32_value(sign, exponent, fraction):
    if sign not in (0, 1) or not 0 <= exponent <= 255 or not 0 <= fraction < 2**23:
        raise ValueError("a field is out of its range")
    direction = -1.0 if sign else 1.0
    if exponent == 255:
        return math.nan if fraction else direction * math.inf
    if exponent == 0:
        return direction * (fraction / 2**23) * 2.0**-127
    return direction * (1 + fraction / 2**23) * 2.0 ** (exponent - 127)
