# Mistake: a float64 scale factor gives a float64 result
# Rule: the result is a float32 tensor
def dequantize_tensor(q, scalefactor, zeropoint):
    return scalefactor * (q.float() - zeropoint)
