# Way: with floor division and a remainder
def requantize(acc, multiplier, shift, rounding=True):
    divisor = 2**shift
    product = acc.long() * multiplier
    quotient = torch.div(product, divisor, rounding_mode="floor")
    if rounding:
        quotient = (
            quotient + (2 * (product - quotient * divisor) >= divisor).long()
            if shift < 62
            else (product + divisor // 2) // divisor
        )
    return quotient
