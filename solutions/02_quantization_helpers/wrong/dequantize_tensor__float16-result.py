# Mistake: computes in float16
# Rule: a code q means scalefactor * (q - zeropoint)
def dequantize_tensor(q, scalefactor, zeropoint):
    return (scalefactor * (q.half() - zeropoint)).float()
