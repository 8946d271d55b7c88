# Mistake: returns the real output
# Rule: an output code is round(M * (sum + bias code)) + out_zeropoint
class QuantizedLayer:
    def __init__(self, layer, num_bits=8):
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            raise TypeError(f"cannot quantize a {type(layer).__name__}")
        if isinstance(layer, nn.Conv2d) and layer.padding_mode != "zeros":
            raise ValueError(f"cannot pad by {layer.padding_mode!r}")
        self.layer, self.num_bits = layer, num_bits
        self.weight_q, self.weight_scalefactor, self.weight_zeropoint = quantize_tensor(layer.weight, num_bits=num_bits)
        self.bias = None if layer.bias is None else layer.bias.detach().double()

    def run_quantized_layer(self, x, x_scalefactor, x_zeropoint, out_scalefactor, out_zeropoint):
        acc_scale = x_scalefactor * self.weight_scalefactor
        x = x.detach().double() - x_zeropoint
        weight = self.weight_q.double() - self.weight_zeropoint
        bias_q = None
        if self.bias is not None:
            bias_q = torch.round(self.bias / acc_scale).clamp(-(2**31), 2**31 - 1)
        if isinstance(self.layer, nn.Linear):
            acc = functional.linear(x, weight, bias_q)
        else:
            conv = self.layer
            acc = functional.conv2d(x, weight, bias_q, conv.stride, conv.padding, conv.dilation, conv.groups)
        return (acc * acc_scale).float()
