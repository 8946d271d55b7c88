# Mistake: has the kit compute the codes
# Rule: is withheld in this lab
def to_fixed(x, integer_bits, fraction_bits):
    from course_utils.numerics.fixed_point import FixedPoint

    return FixedPoint(integer_bits, fraction_bits).encode(x).long()
