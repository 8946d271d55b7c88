# Way: a convolution as a product with patches, ReLU at the end
def integer_layer(x_q, weight_q, bias_q, scale, shift, num_bits, relu):
    if weight_q.dim() == 4:
        rows, columns = weight_q.shape[2:]
        patches = x_q.unfold(2, rows, 1).unfold(3, columns, 1).permute(0, 2, 3, 1, 4, 5).flatten(3)
        acc = (patches @ weight_q.flatten(1).T + bias_q).permute(0, 3, 1, 2)
    else:
        acc = x_q @ weight_q.T + bias_q
    acc = acc * scale
    for _ in range(max(shift, 0)):
        acc = acc + acc
    if shift < 0:
        acc = torch.div(acc + (1 << -shift) // 2, 1 << -shift, rounding_mode="floor")
    half = 2**num_bits // 2
    acc = torch.minimum(torch.maximum(acc, torch.tensor(-half)), torch.tensor(half - 1))
    return acc.relu() if relu else acc
