# Mistake: lets NaN through to an exception of another type
# Rule: an m that is not positive and finite is refused
def fixed_point_multiplier(m):
    if m <= 0:
        raise ValueError("m must be positive")
    if m != m or m == math.inf:
        raise OverflowError("m must be finite")
    _, exponent = math.frexp(m)
    shift = min(31 - exponent, 62)
    multiplier = round(math.ldexp(m, shift))
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift - 1
    if shift < 0:
        raise ValueError("m must be below 2^31")
    return multiplier, shift
