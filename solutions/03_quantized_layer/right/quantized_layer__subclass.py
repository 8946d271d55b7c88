# Way: a module of its own, with torch's layer forward called functionally
class QuantizedLayer(nn.Module):
    def __init__(self, layer, num_bits=8):
        super().__init__()
        if not isinstance(layer, (nn.Linear, nn.Conv2d)):
            raise TypeError("kind")
        if getattr(layer, "padding_mode", "zeros") != "zeros":
            raise ValueError("padding_mode")
        self.num_bits = num_bits
        self.__dict__["original"] = layer
        q, self.weight_scalefactor, self.weight_zeropoint = quantize_tensor(layer.weight, num_bits=num_bits)
        self.register_buffer("weight_q", q)

    def run_quantized_layer(self, x, x_scalefactor, x_zeropoint, out_scalefactor, out_zeropoint):
        scale = x_scalefactor * self.weight_scalefactor
        parameters = {"weight": self.weight_q.double() - self.weight_zeropoint}
        if self.original.bias is not None:
            b = torch.round(self.original.bias.detach().double() / scale)
            parameters["bias"] = torch.minimum(
                torch.maximum(b, torch.tensor(-(2.0**31))), torch.tensor(2.0**31 - 1, dtype=torch.float64)
            )
        with torch.no_grad():
            acc = torch.func.functional_call(self.original, parameters, (x.detach().double() - x_zeropoint,))
        scaled = torch.round(acc * scale / out_scalefactor) + out_zeropoint
        return scaled.clamp(0, 2**self.num_bits - 1).float()
