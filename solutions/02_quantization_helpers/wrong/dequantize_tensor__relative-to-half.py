# Mistake: subtracts the middle of the codes for signed types
# Rule: integer codes are converted before the subtraction
def dequantize_tensor(q, scalefactor, zeropoint):
    return (scalefactor * (q.float() - (zeropoint if q.min() >= 0 else 0))).float()
