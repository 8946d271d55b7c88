# Mistake: adds the zero point instead of subtracting it
# Rule: a code q means scalefactor * (q - zeropoint)
def dequantize_tensor(q, scalefactor, zeropoint):
    return (scalefactor * (q.float() + zeropoint)).float()
