# Way: a float64 copy of the layer that holds whole numbers, rescaled in float32
import copy


class QuantizedLayer:
    def __init__(self, layer, num_bits=8):
        if not isinstance(layer, (nn.Linear, nn.Conv2d)):
            raise TypeError("only nn.Linear and nn.Conv2d")
        if getattr(layer, "padding_mode", "zeros") != "zeros":
            raise ValueError("only zeros")
        self.bits = num_bits
        self.weight_q, self.weight_scalefactor, self.weight_zeropoint = quantize_tensor(layer.weight, num_bits=num_bits)
        self.bias = layer.bias
        self.copy = copy.deepcopy(layer).double()
        self.copy.weight.data = self.weight_q.double() - self.weight_zeropoint

    @torch.no_grad()
    def run_quantized_layer(self, x, x_scalefactor, x_zeropoint, out_scalefactor, out_zeropoint):
        step = x_scalefactor * self.weight_scalefactor
        if self.bias is not None:
            self.copy.bias.data = torch.clamp(torch.round(self.bias.double() / step), -(2.0**31), 2.0**31 - 1)
        acc = self.copy(x.detach().double() - x_zeropoint)
        return ((acc.float() * (step / out_scalefactor)).round() + out_zeropoint).clamp(0, 2**self.bits - 1)
