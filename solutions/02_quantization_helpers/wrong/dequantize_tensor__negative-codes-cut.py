# Mistake: codes below 0 count as 0
# Rule: integer codes are converted before the subtraction
def dequantize_tensor(q, scalefactor, zeropoint):
    return (scalefactor * (q.float().clamp(min=0) - zeropoint)).float()
