# Way: four terms in float64, exact up to 2^53
def quantized_matmul(a_q, a_scale, a_zero, b_q, b_scale, b_zero):
    a, b = a_q.double(), b_q.double()
    rows, columns = a.sum(1).unsqueeze(1), b.sum(0).unsqueeze(0)
    acc = torch.matmul(a, b) - a_zero * columns - b_zero * rows + a.size(1) * a_zero * b_zero
    return acc.to(torch.int64), b_scale * a_scale
