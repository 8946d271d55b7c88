# Mistake: rounds the multiplier up
# Rule: multiplier is the whole number nearest to m * 2^shift
def fixed_point_multiplier(m):
    if not (math.isfinite(m) and m > 0):
        raise ValueError("m must be positive and finite")
    _, exponent = math.frexp(m)
    shift = min(31 - exponent, 62)
    multiplier = math.ceil(math.ldexp(m, shift))
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift - 1
    if shift < 0:
        raise ValueError("m must be below 2^31")
    return multiplier, shift
