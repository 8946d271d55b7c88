# Mistake: changes codes that are float32 already
# Rule: q itself is not changed
def dequantize_tensor(q, scalefactor, zeropoint):
    q = q if q.dtype == torch.float32 else q.float()
    q -= zeropoint
    return (scalefactor * (q)).float()
