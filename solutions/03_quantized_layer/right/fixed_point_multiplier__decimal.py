# Way: with Decimal
from decimal import ROUND_HALF_UP, Decimal, localcontext


def fixed_point_multiplier(m):
    if not 0 < m < float("inf"):
        raise ValueError(m)
    with localcontext() as context:
        context.prec = 1200
        value, shift = Decimal(m), 62
        while shift >= 0:
            whole = int((value * 2**shift).to_integral_value(ROUND_HALF_UP))
            if whole < 2**31:
                return whole, shift
            shift -= 1
    raise ValueError(m)
