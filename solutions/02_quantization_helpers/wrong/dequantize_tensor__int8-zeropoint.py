# Mistake: the zero point is made an int8
# Rule: a code q means scalefactor * (q - zeropoint)
def dequantize_tensor(q, scalefactor, zeropoint):
    zeropoint = torch.as_tensor(zeropoint).to(torch.int8)
    return (scalefactor * (q.float() - zeropoint)).float()
