# Way: with whole numbers and ldexp
def float32_value(sign, exponent, fraction):
    for field, bits in ((sign, 1), (exponent, 8), (fraction, 23)):
        if field not in range(2**bits):
            raise ValueError(f"{field} does not fit into {bits} bits")
    match exponent, fraction:
        case 255, 0:
            size = float("inf")
        case 255, _:
            size = float("nan")
        case 0, _:
            size = math.ldexp(fraction, -149)
        case _:
            size = math.ldexp(fraction + 2**23, exponent - 150)
    return math.copysign(size, -sign) if sign else size
