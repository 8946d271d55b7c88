# Way: floor division by a power of two
def fixed_multiply(a, b, fraction_bits):
    if fraction_bits < 0 or fraction_bits > 31:
        raise ValueError("fraction_bits")
    unit = 2**fraction_bits
    doubled = a.to(torch.int64) * b.to(torch.int64)
    q = torch.div(doubled + unit // 2, unit, rounding_mode="floor")
    return torch.clamp(q, min=-2147483648, max=2147483647)
