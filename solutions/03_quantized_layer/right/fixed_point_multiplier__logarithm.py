# Way: with log2, corrected where it is off by one
def fixed_point_multiplier(m):
    if not (m > 0 and math.isfinite(m)):
        raise ValueError("positive and finite, please")
    shift = min(30 - math.floor(math.log2(m)), 62)
    multiplier = int(np.rint(np.float64(m) * np.float64(2) ** shift)) if shift >= -900 else 2**40
    if multiplier < 2**30 and shift < 62:
        shift += 1
        multiplier = int(np.rint(np.float64(m) * np.float64(2) ** shift))
    if multiplier >= 2**31:
        shift -= 1
        multiplier = int(np.rint(np.float64(m) * np.float64(2) ** shift))
    if shift < 0:
        raise ValueError("too large")
    return multiplier, shift
