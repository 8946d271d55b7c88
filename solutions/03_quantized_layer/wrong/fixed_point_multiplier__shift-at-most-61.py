# Mistake: stops at shift 61
# Rule: multiplier is the whole number nearest to m * 2^shift, from 2^30 to 2^31 - 1
def fixed_point_multiplier(m):
    if not (math.isfinite(m) and m > 0):
        raise ValueError("m")
    shift = min(31 - math.frexp(m)[1], 61)
    multiplier = round(math.ldexp(m, shift))
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift - 1
    if shift < 0:
        raise ValueError("m")
    return multiplier, shift
