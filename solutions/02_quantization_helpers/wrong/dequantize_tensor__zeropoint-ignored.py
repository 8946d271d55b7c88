# Mistake: leaves the zero point out
# Rule: a code q means scalefactor * (q - zeropoint)
def dequantize_tensor(q, scalefactor, zeropoint):
    return (scalefactor * q.float()).float()
