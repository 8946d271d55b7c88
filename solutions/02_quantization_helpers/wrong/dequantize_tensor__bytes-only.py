# Mistake: codes are cut to 0 .. 255
# Rule: a code q means scalefactor * (q - zeropoint)
def dequantize_tensor(q, scalefactor, zeropoint):
    return (scalefactor * (q.float().clamp(max=255) - zeropoint)).float()
