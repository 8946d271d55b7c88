# Way: in int64, the input padded with its zero point, the rest in fixed point
class QuantizedLayer:
    def __init__(self, layer, num_bits=8):
        self.is_conv = isinstance(layer, nn.Conv2d)
        if not (self.is_conv or isinstance(layer, nn.Linear)):
            raise TypeError("Linear or Conv2d only")
        if self.is_conv and layer.padding_mode != "zeros":
            raise ValueError("only padding with zeros")
        self.top = 2**num_bits - 1
        q = quantize_tensor(layer.weight.detach(), num_bits=num_bits)
        self.weight_q, self.weight_scalefactor, self.weight_zeropoint = q
        self.bias = layer.bias
        if self.is_conv:
            sides = [0, 0] if layer.padding == "valid" else layer.padding
            if layer.padding == "same":
                steps = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
                self.padding = [steps[1] // 2, steps[1] - steps[1] // 2, steps[0] // 2, steps[0] - steps[0] // 2]
            else:
                self.padding = [sides[1], sides[1], sides[0], sides[0]]
            self.ways = {"stride": layer.stride, "dilation": layer.dilation, "groups": layer.groups}

    def run_quantized_layer(self, x, x_scalefactor, x_zeropoint, out_scalefactor, out_zeropoint):
        weight = self.weight_q.long() - self.weight_zeropoint
        codes = x.long()
        if self.is_conv:
            codes = functional.pad(codes, self.padding, value=x_zeropoint)
            acc = functional.conv2d(codes - x_zeropoint, weight, **self.ways)
        else:
            acc = (codes - x_zeropoint) @ weight.T
        if self.bias is not None:
            steps = (self.bias.detach().double() / (x_scalefactor * self.weight_scalefactor)).round()
            steps = steps.clamp(-(2.0**31), 2.0**31 - 1).long()
            acc = acc + (steps[:, None, None] if self.is_conv else steps)
        m = x_scalefactor * self.weight_scalefactor / out_scalefactor
        fraction, exponent = math.frexp(m)
        multiplier, shift = round(fraction * 2**31), 31 - exponent
        scaled = (acc * multiplier + 2 ** (shift - 1)) >> shift
        return (scaled + out_zeropoint).clamp(0, self.top).to(torch.float32)
