# Way: doubles and halves until the number has 31 bits
def fixed_point_multiplier(m):
    if not 0 < m < math.inf:
        raise ValueError("m must be positive and finite")
    shift = 0
    while shift < 62 and m * 2.0**shift < 2.0**30:
        shift += 1
    if round(m * 2.0**shift) >= 2**31:
        shift -= 1
    if shift < 0 or m >= 2.0**31:
        raise ValueError("m is 2^31 or more")
    return round(m * 2.0**shift), shift
