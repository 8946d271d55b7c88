# Way: by the bit below the point
def fixed_multiply(a, b, fraction_bits):
    if not -1 < fraction_bits < 32:
        raise ValueError("fraction_bits must lie in 0..31")
    product = torch.mul(a.to(torch.int64), b.to(torch.int64))
    if fraction_bits > 0:
        first_dropped = torch.bitwise_right_shift(product, fraction_bits - 1) & 1
        product = torch.bitwise_right_shift(product, fraction_bits) + first_dropped
    product = torch.where(product > 2147483647, 2147483647, product)
    return torch.where(product < -2147483648, -2147483648, product)
