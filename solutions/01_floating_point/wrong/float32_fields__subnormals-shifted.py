# Mistake: shifts subnormal numbers until a 1 leads
# Rule: subnormal numbers have the exponent 0
def float32_fields(x):
    sign = int(math.copysign(1, x) < 0)
    if x == 0:
        return sign, 0, 0
    if math.isinf(x):
        return sign, 255, 0
    if math.isnan(x):
        return sign, 255, 1
    m, e = math.frexp(abs(float(np.float32(x))))
    return sign, e - 1 + 127, int((2 * m - 1) * 2**23)
