# Way: puts every convolution into a module of its own
class Converted(nn.Module):
    def __init__(self, layer, convert, chosen):
        super().__init__()
        self.layer, self.convert, self.chosen = layer, convert, chosen
        with torch.no_grad():
            layer.weight.copy_(convert(layer.weight.detach(), 8, chosen["weight"]))
            if layer.bias is not None:
                layer.bias.copy_(convert(layer.bias.detach(), 16, chosen["bias"]))

    def forward(self, x):
        return self.layer(self.convert(x, 8, self.chosen["input"]))


def quantize_network(model, images, convert=None, choose=None):
    convert, choose = convert or symbolic_convert, choose or search
    if model.training:
        raise ValueError("training mode")
    names = [name for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)]
    if len(names) == 0:
        raise ValueError("no convolution")
    seen, handles = {}, []
    for name in names:

        def record(layer, inputs, name=name):
            seen[name] = inputs[0].detach().clone()

        handles.append(model.get_submodule(name).register_forward_pre_hook(record))
    try:
        model(images)
    finally:
        for handle in handles:
            handle.remove()
    network, formats = copy.deepcopy(model), {}
    for name in names:
        layer = network.get_submodule(name)
        formats[name] = {"weight": choose(layer.weight.detach(), 8), "input": choose(seen[name], 8), "bias": None}
        if layer.bias is not None:
            formats[name]["bias"] = choose(layer.bias.detach(), 16)
        network.set_submodule(name, Converted(layer, convert, formats[name]))
    return network, formats
