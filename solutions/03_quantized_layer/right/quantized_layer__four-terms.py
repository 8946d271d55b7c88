# Way: by the four terms, the padding filled with the zero point
class QuantizedLayer:
    def __init__(self, layer, num_bits=8):
        match layer:
            case nn.Linear():
                self.ways = None
            case nn.Conv2d(padding_mode="zeros"):
                self.ways = layer.stride, 0, layer.dilation, layer.groups
                self.border = layer._reversed_padding_repeated_twice  # numbers for "same" and "valid", too
            case nn.Conv2d():
                raise ValueError("padding_mode")
            case _:
                raise TypeError("kind of layer")
        self.num_bits = num_bits
        self.weight_q, self.weight_scalefactor, self.weight_zeropoint = quantize_tensor(layer.weight, num_bits=num_bits)
        self.bias = torch.zeros(len(layer.weight)) if layer.bias is None else layer.bias.detach().clone()

    def sums(self, x, weight):
        return functional.linear(x, weight) if self.ways is None else functional.conv2d(x, weight, None, *self.ways)

    @torch.no_grad()
    def run_quantized_layer(self, x, x_scalefactor, x_zeropoint, out_scalefactor, out_zeropoint):
        x, w = x.detach().double(), self.weight_q.double()
        if self.ways is not None:
            x = functional.pad(x, self.border, value=x_zeropoint)
        n = w[0].numel()
        acc = self.sums(x, w) - self.weight_zeropoint * self.sums(x, torch.ones_like(w))
        column = x_zeropoint * w.flatten(1).sum(1) - n * x_zeropoint * self.weight_zeropoint
        bias = torch.round(self.bias.double() / (x_scalefactor * self.weight_scalefactor)).clamp(-(2**31), 2**31 - 1)
        offset = bias - column
        acc = acc + (offset if self.ways is None else offset.view(-1, 1, 1))
        real = acc * x_scalefactor * self.weight_scalefactor / out_scalefactor
        return torch.floor(real + 0.5).add(out_zeropoint).clamp(0, 2**self.num_bits - 1).float()
