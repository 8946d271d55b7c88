# Mistake: subtracts the zero point after the multiplication
# Rule: a code q means scalefactor * (q - zeropoint)
def dequantize_tensor(q, scalefactor, zeropoint):
    return scalefactor * q.float() - zeropoint
