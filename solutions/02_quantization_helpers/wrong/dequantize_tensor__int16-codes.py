# Mistake: subtracts in 16-bit integers
# Rule: a code q means scalefactor * (q - zeropoint)
def dequantize_tensor(q, scalefactor, zeropoint):
    return (scalefactor * (q.to(torch.int16) - zeropoint)).float()
