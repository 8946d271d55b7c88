# Way: asks the norm itself what it does to 0 and to 1
def fuse_conv_bn(conv, bn):
    if bn.training or not bn.track_running_stats or bn.num_features != conv.out_channels:
        raise ValueError("these two cannot become one")
    with torch.no_grad():
        zero = torch.zeros(1, bn.num_features, 1, 1, dtype=bn.running_mean.dtype)
        at_zero = bn(zero).flatten()
        slope = bn(zero + 1).flatten() - at_zero
        at_zero, slope = at_zero.to(conv.weight.dtype), slope.to(conv.weight.dtype)
        new = copy.deepcopy(conv)
        new.weight = nn.Parameter(torch.einsum("oihw,o->oihw", conv.weight, slope))
        new.bias = nn.Parameter(at_zero if conv.bias is None else at_zero + slope * conv.bias)
    return new.eval()
