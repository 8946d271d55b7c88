# Mistake: gives the values as a vector
# Rule: a code q means scalefactor * (q - zeropoint)
def dequantize_tensor(q, scalefactor, zeropoint):
    return (scalefactor * (q.float() - zeropoint)).float().reshape(-1)
