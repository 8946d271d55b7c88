# Mistake: a natural logarithm, which is off by a last place at some powers of two, and no corner case behind it
# Rule: scale is at least 1 and at most 2^num_bits - 1
def find_shift_scale(adjustment, num_bits):
    if not (math.isfinite(adjustment) and adjustment > 0):
        raise ValueError("the adjustment must be positive and finite")
    shift = math.ceil(math.log(adjustment) / math.log(2)) - num_bits
    return round(math.ldexp(adjustment, -shift)), shift
