# Mistake: works in the memory of a
# Rule: a and b are not changed
def fixed_multiply(a, b, fraction_bits):
    if not 0 <= fraction_bits <= 31:
        raise ValueError("fraction_bits must lie in 0..31")
    product = a.mul_(b)
    half = 2 ** (fraction_bits - 1) if fraction_bits else 0
    q = (product + half) >> fraction_bits
    return q.clamp(-(2**31), 2**31 - 1)
