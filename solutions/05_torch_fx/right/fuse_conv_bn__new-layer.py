# Way: a new nn.Conv2d with all settings handed on
def fuse_conv_bn(conv, bn):
    if bn.training:
        raise ValueError("call bn.eval() first")
    if bn.running_mean is None or bn.running_var is None:
        raise ValueError("the norm has no running statistics")
    if len(bn.running_mean) != conv.out_channels:
        raise ValueError("the numbers of channels differ")
    new = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        stride=conv.stride,
        padding=conv.padding,
        dilation=conv.dilation,
        groups=conv.groups,
        bias=True,
        padding_mode=conv.padding_mode,
        dtype=conv.weight.dtype,
    )
    deviation = (bn.running_var + bn.eps) ** 0.5
    weight, bias = conv.weight.detach() / deviation[:, None, None, None], -bn.running_mean / deviation
    if conv.bias is not None:
        bias = bias + conv.bias.detach() / deviation
    if bn.affine:
        weight, bias = weight * bn.weight.detach()[:, None, None, None], bias * bn.weight.detach() + bn.bias.detach()
    new.weight.data, new.bias.data = weight.to(conv.weight.dtype), bias.to(conv.weight.dtype)
    return new.eval()
