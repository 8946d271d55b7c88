# Way: a loop over the output channels
def fuse_conv_bn(conv, bn):
    if bn.training:
        raise ValueError("training mode")
    if bn.running_var is None:
        raise ValueError("no statistics")
    if bn.num_features != conv.weight.shape[0]:
        raise ValueError("channels")
    fused = copy.deepcopy(conv)
    fused.eval()
    fused.bias = nn.Parameter(conv.weight.new_zeros(conv.out_channels))
    with torch.no_grad():
        for c in range(conv.out_channels):
            factor = 1 / torch.sqrt(bn.running_var[c] + bn.eps)
            shift = 0.0
            if bn.affine:
                factor, shift = factor * bn.weight[c], bn.bias[c]
            fused.weight[c] *= factor
            b = conv.bias[c] if conv.bias is not None else 0.0
            fused.bias[c] = (b - bn.running_mean[c]) * factor + shift
    return fused
