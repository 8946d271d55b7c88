# Way: column by column
def quantized_matmul(a_q, a_scale, a_zero, b_q, b_scale, b_zero):
    a = a_q.to(torch.int64)
    columns = [((a - a_zero) * (b_q[:, j].to(torch.int64) - b_zero)).sum(-1) for j in range(b_q.shape[1])]
    return torch.stack(columns, -1), a_scale * b_scale
