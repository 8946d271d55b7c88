# Mistake: takes every sign but 0 for a minus
# Rule: a field out of its range is refused with a ValueError
def float32_value(sign, exponent, fraction):
    if not 0 <= exponent <= 255 or not 0 <= fraction < 2**23:
        raise ValueError(f"no float32 has the fields {sign}, {exponent}, {fraction}")
    direction = -1.0 if sign else 1.0
    if exponent == 255:
        return math.nan if fraction else direction * math.inf
    leading = 1 if exponent else 0
    return direction * (leading + fraction / 2**23) * 2.0 ** (max(exponent, 1) - 127)
