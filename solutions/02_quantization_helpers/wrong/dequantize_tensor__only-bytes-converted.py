# Mistake: converts uint8 codes only
# Rule: integer codes are converted before the subtraction
def dequantize_tensor(q, scalefactor, zeropoint):
    if q.dtype == torch.uint8:
        q = q.float()
    return (scalefactor * (q - zeropoint)).float()
