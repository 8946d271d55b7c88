# Way: element by element in exact arithmetic
def to_fixed(x, integer_bits, fraction_bits):
    n = integer_bits + fraction_bits
    if integer_bits <= 0 or fraction_bits <= -1 or n > 32 or n < 2:
        raise ValueError("bits out of range")
    low, high = -(1 << (n - 1)), (1 << (n - 1)) - 1
    codes = []
    for v in x.flatten().tolist():
        if v != v:
            raise ValueError("NaN has no code")
        if math.isinf(v):
            codes.append(high if v > 0 else low)
        else:
            codes.append(min(max(round(Fraction(v) * 2**fraction_bits), low), high))
    return torch.tensor(codes, dtype=torch.int64).reshape(x.shape)
