# Mistake: expects tensors for scale factor and zero point
# Rule: scalefactor and zeropoint may be Python numbers
def dequantize_tensor(q, scalefactor, zeropoint):
    return (scalefactor * (q.float() - zeropoint.float())).float()
