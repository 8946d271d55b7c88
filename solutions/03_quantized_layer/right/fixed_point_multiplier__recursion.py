# Way: doubles or halves until it fits
def fixed_point_multiplier(m, shift=31):
    if not (m > 0 and m < math.inf):
        raise ValueError("m")
    if shift < 0:
        raise ValueError("too large")
    if m * 2.0**31 >= 2.0**31 - 0.5:
        return fixed_point_multiplier(m / 2, shift - 1)
    while m < 0.5 and shift < 62 and round(m * 2.0**32) < 2**31:
        m, shift = m * 2, shift + 1
    return round(m * 2.0**31), shift
