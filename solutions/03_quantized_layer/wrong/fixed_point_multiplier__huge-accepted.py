# Mistake: lets the shift become negative
# Rule: an m of 2^31 and more is refused
def fixed_point_multiplier(m):
    if not (math.isfinite(m) and m > 0):
        raise ValueError("m must be positive and finite")
    _, exponent = math.frexp(m)
    shift = min(31 - exponent, 62)
    multiplier = round(math.ldexp(m, shift))
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift - 1
    return multiplier, shift
