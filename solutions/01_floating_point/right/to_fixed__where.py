# Way: with torch.where
def to_fixed(x, integer_bits, fraction_bits):
    if not (integer_bits >= 1 and fraction_bits >= 0 and 1 < integer_bits + fraction_bits < 33):
        raise ValueError("bits out of range")
    if bool((x != x).any()):
        raise ValueError("NaN has no code")
    edge = 2.0 ** (integer_bits - 1)
    step = 1 / 2**fraction_bits
    v = x.to(torch.float64)
    v = torch.where(v < -edge, -edge, v)
    v = torch.where(v > edge - step, edge - step, v)
    return torch.div(v, step).round().to(torch.int64)
