# Mistake: subtracts in uint8, which wraps around
# Rule: integer codes are converted before the subtraction
def dequantize_tensor(q, scalefactor, zeropoint):
    return (scalefactor * (q - zeropoint)).float()
