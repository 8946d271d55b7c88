# Way: a sum of outer products
def quantized_matmul(a_q, a_scale, a_zero, b_q, b_scale, b_zero):
    acc = torch.zeros(a_q.shape[0], b_q.shape[1], dtype=torch.int64)
    a, b = a_q.double() - a_zero, b_q.double() - b_zero
    for part_a, part_b in zip(a.split(5000, 1), b.split(5000, 0), strict=False):
        acc += (part_a @ part_b).long()
    return acc, b_scale * a_scale
