# Way: Python's exact fractions, element by element
def to_fixed(x, integer_bits, fraction_bits):
    n = integer_bits + fraction_bits
    if integer_bits < 1 or fraction_bits < 0 or n < 2 or n > 32:
        raise ValueError("bits")
    codes = []
    for value in x.flatten().tolist():
        if math.isnan(value):
            raise ValueError("NaN")
        code = round(Fraction(value) * 2**fraction_bits) if math.isfinite(value) else int(math.copysign(2**40, value))
        codes.append(min(max(code, -(2 ** (n - 1))), 2 ** (n - 1) - 1))
    return torch.tensor(codes, dtype=torch.int64).reshape(x.shape)
