# Mistake: takes the exponent from log2, before rounding
# Rule: a number between two float32 numbers counts as the nearest one
def float32_fields(x):
    sign = int(math.copysign(1.0, x) < 0)
    if math.isnan(x):
        return sign, 255, 1
    if math.isinf(x):
        return sign, 255, 0
    size = abs(x)
    if size < 2.0**-126:
        return sign, 0, round(size * 2.0**149)
    power = math.floor(math.log2(size))
    return sign, power + 127, round((size / 2.0**power - 1) * 2**23)
