# Way: halves and doubles from the exponent 127
def float32_value(sign, exponent, fraction):
    if not (sign in (0, 1) and 0 <= exponent <= 255 and 0 <= fraction < 2**23):
        raise ValueError("fields")
    if sign:
        return -float32_value(0, exponent, fraction)
    if exponent == 255:
        return float("nan") if fraction else float("inf")
    if exponent == 0:
        return float32_value(0, 1, fraction) - float32_value(0, 1, 0) if fraction else 0.0
    if exponent == 127:
        return 1 + fraction / 8388608
    return (
        float32_value(0, exponent - 1, fraction) * 2 if exponent > 127 else float32_value(0, exponent + 1, fraction) / 2
    )
