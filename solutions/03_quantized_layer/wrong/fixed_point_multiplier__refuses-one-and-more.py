# Mistake: takes the observation M < 1 for a law
# Rule: an m of 1 and more gets a shift below 31
def fixed_point_multiplier(m):
    if not (math.isfinite(m) and 0 < m < 1):
        raise ValueError("m must be positive and finite")
    _, exponent = math.frexp(m)
    shift = min(31 - exponent, 62)
    multiplier = round(math.ldexp(m, shift))
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift - 1
    if shift < 0:
        raise ValueError("m must be below 2^31")
    return multiplier, shift
