# Mistake: asserts instead of raising a ValueError
# Rule: a field out of its range is refused
def float32_value(sign, exponent, fraction):
    assert sign in (0, 1) and 0 <= exponent <= 255 and 0 <= fraction < 2**23
    direction = -1.0 if sign else 1.0
    if exponent == 255:
        return math.nan if fraction else direction * math.inf
    if exponent == 0:
        return direction * (fraction / 2**23) * 2.0**-126
    return direction * (1 + fraction / 2**23) * 2.0 ** (exponent - 127)
