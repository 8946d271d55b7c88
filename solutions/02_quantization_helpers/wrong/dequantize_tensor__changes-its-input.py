# Mistake: subtracts in place and so changes the codes
# Rule: q itself is not changed
def dequantize_tensor(q, scalefactor, zeropoint):
    return scalefactor * q.float().sub_(zeropoint)
