# Mistake: lets infinity through to an OverflowError
# Rule: an m that is not positive and finite is refused with a ValueError
def fixed_point_multiplier(m):
    if m <= 0 or m != m:
        raise ValueError("m")
    shift = min(31 - math.frexp(m)[1], 62)
    multiplier = round(math.ldexp(m, shift))
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift - 1
    if shift < 0:
        raise ValueError("m")
    return multiplier, shift
