# Mistake: dequantizes the input and runs the float layer, so the weight was never quantized
# Rule: a convolution's output code is round(M * (sum + bias code)) + out_zeropoint
class QuantizedLayer:
    def __init__(self, layer, num_bits=8):
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            raise TypeError("cannot quantize this")
        if isinstance(layer, nn.Conv2d) and layer.padding_mode != "zeros":
            raise ValueError("cannot pad like this")
        self.layer, self.num_bits = layer, num_bits
        self.weight_q, self.weight_scalefactor, self.weight_zeropoint = quantize_tensor(layer.weight, num_bits=num_bits)

    def run_quantized_layer(self, x, x_scalefactor, x_zeropoint, out_scalefactor, out_zeropoint):
        with torch.no_grad():
            out = self.layer(dequantize_tensor(x, x_scalefactor, x_zeropoint))
        return torch.clamp(torch.round(out / out_scalefactor) + out_zeropoint, 0, 2**self.num_bits - 1)
