# Way: with exact rational numbers, halves up
from fractions import Fraction


def fixed_point_multiplier(m):
    if math.isnan(m) or math.isinf(m) or m <= 0:
        raise ValueError(f"{m} cannot be written as multiplier and shift")
    exact = Fraction(m)
    for shift in range(62, -1, -1):
        multiplier = math.floor(exact * 2**shift + Fraction(1, 2))
        if multiplier < 2**31:
            return multiplier, shift
    raise ValueError(f"{m} is 2^31 or more")
