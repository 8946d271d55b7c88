# Way: looks at three shifts, in rational numbers
def find_shift_scale(adjustment, num_bits):
    from fractions import Fraction

    if math.isnan(adjustment) or adjustment in (math.inf, -math.inf) or adjustment <= 0:
        raise ValueError("not a positive number")
    exact, pairs = Fraction(adjustment), []
    guess = math.frexp(adjustment)[1] - num_bits
    for shift in (guess - 1, guess, guess + 1):
        scale = round(exact / Fraction(2) ** shift)
        if 1 <= scale < 2**num_bits:
            pairs.append((abs(scale * Fraction(2) ** shift - exact), scale, shift))
    return min(pairs)[1:]
