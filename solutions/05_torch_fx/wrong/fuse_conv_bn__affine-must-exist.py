# Mistake: takes the norm's weight and bias for granted
# Rule: a missing bias counts as 0; without affine gamma is 1 and beta is 0
def fuse_conv_bn(conv, bn):
    if bn.training or bn.running_mean is None:
        raise ValueError("only a batch norm in eval mode, with running statistics, is a fixed linear map")
    if bn.num_features != conv.out_channels:
        raise ValueError(f"{conv.out_channels} output channels, but a norm of {bn.num_features}")
    with torch.no_grad():
        gamma = bn.weight
        beta = bn.bias
        bias = torch.zeros_like(bn.running_mean) if conv.bias is None else conv.bias
        factor = gamma / torch.sqrt(bn.running_var + bn.eps)
        fused = copy.deepcopy(conv).eval()
        fused.weight = nn.Parameter(conv.weight * factor.view(-1, 1, 1, 1))
        fused.bias = nn.Parameter((bias - bn.running_mean) * factor + beta)
    return fused
