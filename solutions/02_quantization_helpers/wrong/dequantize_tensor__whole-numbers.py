# Mistake: rounds the result to whole numbers
# Rule: a code q means scalefactor * (q - zeropoint)
def dequantize_tensor(q, scalefactor, zeropoint):
    return torch.round(scalefactor * (q.float() - zeropoint))
