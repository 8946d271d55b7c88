# Mistake: divides by the scale factor
# Rule: a code q means scalefactor * (q - zeropoint)
def dequantize_tensor(q, scalefactor, zeropoint):
    return ((q.float() - zeropoint) / scalefactor).float()
