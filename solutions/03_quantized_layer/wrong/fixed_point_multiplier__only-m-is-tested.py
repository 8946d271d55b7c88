# Mistake: refuses 2^31 only before rounding
# Rule: an m of 2^31 and more is refused with a ValueError, and one that rounds to 2^31
def fixed_point_multiplier(m):
    if not (math.isfinite(m) and m > 0):
        raise ValueError("m")
    if m >= 2**31:
        raise ValueError("m")
    shift = min(31 - math.frexp(m)[1], 62)
    multiplier = round(math.ldexp(m, shift))
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift - 1
    return multiplier, max(shift, 0)
