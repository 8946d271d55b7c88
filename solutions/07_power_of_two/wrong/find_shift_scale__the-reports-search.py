# Mistake: climbs greedily from below, as the report does
# Rule: no other pair of so many bits is nearer
def find_shift_scale(adjustment, num_bits):
    if not (math.isfinite(adjustment) and adjustment > 0):
        raise ValueError("the adjustment must be positive and finite")
    shift, scale, kept = math.ceil(math.log2(adjustment)), 1, None
    old = (adjustment - 2.0**shift) ** 2
    while scale < 2**num_bits and shift > -40:
        off = adjustment - scale * 2.0**shift
        if off**2 < old and off > 0:
            kept = scale, shift
        old = off**2
        if off < 0:
            shift, scale = shift - 1, 2 * scale - 1
        else:
            scale += 1
    return kept or (1, math.ceil(math.log2(adjustment)))
