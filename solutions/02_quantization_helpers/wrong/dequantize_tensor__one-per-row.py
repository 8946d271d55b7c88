# Mistake: takes tensors as one number for each row, whatever their shape
# Rule: scalefactor and zeropoint may be tensors that broadcast against q
def dequantize_tensor(q, scalefactor, zeropoint):
    def rows(value):
        return value.reshape(-1, *[1] * (q.dim() - 1)) if isinstance(value, torch.Tensor) and value.dim() else value

    return (rows(scalefactor) * (q.float() - rows(zeropoint))).float()
