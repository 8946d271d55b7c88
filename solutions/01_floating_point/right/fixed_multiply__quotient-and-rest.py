# Way: quotient and rest apart
def fixed_multiply(a, b, fraction_bits):
    if not -1 < fraction_bits < 32:
        raise ValueError("fraction_bits")
    product = torch.mul(a.long(), b.long())
    quotient, rest = product >> fraction_bits, product & ((1 << fraction_bits) - 1)
    up = (2 * rest >= 1 << fraction_bits) & (rest > 0)
    return (quotient + up.long()).clamp(-(2**31), 2**31 - 1)
