# Mistake: takes float(scalefactor), so that a tensor of scale factors fails
# Rule: scalefactor and zeropoint may be tensors that broadcast
def dequantize_tensor(q, scalefactor, zeropoint):
    return (float(scalefactor) * (q.float() - zeropoint)).float()
