# Mistake: computes in float64 and forgets to convert back
# Rule: the result is a float32 tensor
def dequantize_tensor(q, scalefactor, zeropoint):
    return scalefactor * (q.double() - zeropoint)
