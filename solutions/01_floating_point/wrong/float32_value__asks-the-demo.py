# Mistake: has the demo compute the value
# Rule: is withheld in this lab
def float32_value(sign, exponent, fraction):
    from course_utils.demos.bit_toggler import compute_bits

    return compute_bits((sign << 31) + (exponent << 23) + fraction).value
