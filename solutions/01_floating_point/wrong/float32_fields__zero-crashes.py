# Mistake: takes the logarithm of zero
# Rule: zero has the exponent 0
def float32_fields(x):
    sign = int(math.copysign(1, x) < 0)
    if math.isinf(x):
        return sign, 255, 0
    if math.isnan(x):
        return sign, 255, 1
    e = math.floor(math.log2(abs(float(np.float32(x))))) + 1
    m = abs(float(np.float32(x))) / 2.0**e
    return sign, e - 1 + 127, int((2 * m - 1) * 2**23)
