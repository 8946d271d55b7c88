# Way: saturates before scaling
def to_fixed(x, integer_bits, fraction_bits):
    if integer_bits <= 0 or fraction_bits <= -1 or integer_bits + fraction_bits not in range(2, 33):
        raise ValueError("bits")
    if bool((x != x).any()):
        raise ValueError("NaN")
    step = 2.0**-fraction_bits
    inside = x.to(torch.float64).clamp(-(2.0 ** (integer_bits - 1)), 2.0 ** (integer_bits - 1) - step)
    return (inside / step).round().to(torch.int64)
