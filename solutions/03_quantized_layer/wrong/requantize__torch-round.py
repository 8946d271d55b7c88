# Mistake: rounds the real product by torch.round
# Rule: what lies halfway between two whole numbers is rounded up
def requantize(acc, multiplier, shift, rounding=True):
    real = acc.double() * multiplier / 2.0**shift
    return (torch.round(real) if rounding else torch.floor(real)).long()
