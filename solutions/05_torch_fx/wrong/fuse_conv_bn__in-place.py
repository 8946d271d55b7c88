# Mistake: changes the convolution that comes in
# Rule: the result is a new nn.Conv2d with a bias
def fuse_conv_bn(conv, bn):
    if bn.training or bn.running_mean is None:
        raise ValueError("only a batch norm in eval mode, with running statistics, is a fixed linear map")
    if bn.num_features != conv.out_channels:
        raise ValueError(f"{conv.out_channels} output channels, but a norm of {bn.num_features}")
    with torch.no_grad():
        gamma = torch.ones_like(bn.running_mean) if bn.weight is None else bn.weight
        beta = torch.zeros_like(bn.running_mean) if bn.bias is None else bn.bias
        bias = torch.zeros_like(bn.running_mean) if conv.bias is None else conv.bias
        factor = gamma / torch.sqrt(bn.running_var + bn.eps)
        fused = conv.eval()
        fused.weight = nn.Parameter(conv.weight * factor.view(-1, 1, 1, 1))
        fused.bias = nn.Parameter((bias - bn.running_mean) * factor + beta)
    return fused
