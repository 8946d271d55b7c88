# Mistake: refuses subnormal numbers
# Rule: an m below 2^-32 has shift 62 and the whole number nearest to m * 2^62
def fixed_point_multiplier(m):
    if not (math.isfinite(m) and m > 2.0**-1022):
        raise ValueError("m")
    shift = min(31 - math.frexp(m)[1], 62)
    multiplier = round(math.ldexp(m, shift))
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift - 1
    if shift < 0:
        raise ValueError("m")
    return multiplier, shift
