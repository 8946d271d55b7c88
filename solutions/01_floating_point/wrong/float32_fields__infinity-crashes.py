# Mistake: has no branch for infinities
# Rule: an infinity has the exponent 255
def float32_fields(x):
    sign = int(math.copysign(1, x) < 0)
    if math.isnan(x):
        return sign, 255, 1
    x = abs(float(np.float32(x)))
    exponent = max(math.frexp(x)[1] - 1, -127) if x else -127
    if exponent == -127 or x < 2.0**-126:
        return sign, 0, int(x * 2.0**149)
    return sign, exponent + 127, int(x / 2.0**exponent * 2**23) - 2**23
