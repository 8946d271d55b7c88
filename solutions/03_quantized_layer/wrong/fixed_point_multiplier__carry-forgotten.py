# Mistake: lets the multiplier become 2^31
# Rule: a multiplier that rounds up to 2^31 becomes 2^30, with a shift one less
def fixed_point_multiplier(m):
    if not (math.isfinite(m) and m > 0):
        raise ValueError("m must be positive and finite")
    _, exponent = math.frexp(m)
    shift = min(31 - exponent, 62)
    multiplier = round(math.ldexp(m, shift))
    if shift < 0:
        raise ValueError("m must be below 2^31")
    return multiplier, shift
