# Way: by the exponent field of the float64
def fixed_point_multiplier(m):
    if not m > 0 or m == math.inf:
        raise ValueError("positive and finite")
    field = int(np.float64(m).view(np.uint64)) >> 52 & 2047
    shift = min(30 - (field - 1023), 62) if field else 62
    if shift < 0:
        raise ValueError("too large")
    whole, rest = divmod(m * 2.0**shift, 1.0)
    multiplier = int(whole) + (rest >= 0.5)
    if multiplier >> 31:
        multiplier, shift = multiplier >> 1, shift - 1
    if shift < 0:
        raise ValueError("too large")
    return multiplier, shift
