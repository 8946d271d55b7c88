# Way: numpy and unfold
class QuantizedLayer:
    def __init__(self, layer, num_bits=8):
        if not isinstance(layer, (nn.Linear, nn.Conv2d)):
            raise TypeError(type(layer))
        self.conv = layer if isinstance(layer, nn.Conv2d) else None
        if self.conv is not None and self.conv.padding_mode != "zeros":
            raise ValueError(self.conv.padding_mode)
        self.weight_q, self.weight_scalefactor, self.weight_zeropoint = quantize_tensor(layer.weight, num_bits=num_bits)
        self.b = np.zeros(len(layer.weight)) if layer.bias is None else layer.bias.detach().numpy().astype(np.float64)
        self.top = 2**num_bits - 1

    def run_quantized_layer(self, x, x_scalefactor, x_zeropoint, out_scalefactor, out_zeropoint):
        step = x_scalefactor * self.weight_scalefactor
        bias = np.clip(np.rint(self.b / step), -(2.0**31), 2.0**31 - 1)
        weight = self.weight_q.double() - self.weight_zeropoint
        x = x.detach().double() - x_zeropoint
        if self.conv is None:
            acc = x.numpy() @ weight.numpy().T + bias
        else:
            c = self.conv
            acc = functional.conv2d(x, weight, None, c.stride, c.padding, c.dilation, c.groups).numpy()
            acc = acc + bias[:, None, None]
        q = np.floor(acc * (step / out_scalefactor) + 0.5) + out_zeropoint
        return torch.from_numpy(np.asarray(np.clip(q, 0, self.top), dtype=np.float32))
