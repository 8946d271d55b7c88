# Mistake: has the kit list the values
# Rule: is withheld in this lab
def minifloat_values(exponent_bits, mantissa_bits):
    from course_utils.numerics.formats import FORMATS

    return type(FORMATS["e3m4"])(exponent_bits, mantissa_bits).values()
