# Way: by computing, without a look at the bits
def float32_fields(x):
    sign = 1 if math.copysign(1.0, x) < 0 else 0
    if math.isnan(x):
        return sign, 255, 2**22
    x = abs(float(np.float32(x)))
    if math.isinf(x):
        return sign, 255, 0
    if x < 2.0**-126:
        return sign, 0, int(x * 2.0**149)
    m, e = math.frexp(x)
    return sign, e + 126, int(m * 2**24) - 2**23
