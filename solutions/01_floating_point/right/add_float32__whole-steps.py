# Way: in whole steps of 2^-149
def add_float32(a, b):
    if a - a != 0 or b - b != 0:
        raise ValueError("finite numbers only")

    def split(value):
        power = -126
        while abs(value) >= Fraction(2) ** (power + 1):
            power += 1
        return value / Fraction(2) ** power, power

    exact = Fraction(a), Fraction(b)
    (sa, ea), (sb, eb) = map(split, exact)
    top = ea if ea > eb else eb
    left, right = (float(v / Fraction(2) ** top) for v in exact)
    total = left + right
    normal, power = split(Fraction(total) * Fraction(2) ** top)
    digits, end = round(normal * 2**23), power
    if abs(digits) == 2**24:
        digits, end = digits // 2, end + 1
    result = digits / 2**23 * 2.0**end if end <= 127 else (math.inf if digits > 0 else -math.inf)
    return {
        "a": (float(sa), ea),
        "b": (float(sb), eb),
        "aligned": (left, right, top),
        "sum": (total, top),
        "normalised": (float(normal), power),
        "rounded": (digits / 2**23, end),
        "result": result,
    }
