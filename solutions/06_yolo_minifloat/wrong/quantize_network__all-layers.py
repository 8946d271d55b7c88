# Mistake: makes an entry for every layer
# Rule: formats has an entry for every nn.Conv2d, by its name in named_modules(), and no others
def quantize_network(model, images, convert=None, choose=None):
    convert, choose = convert or symbolic_convert, choose or search
    if model.training:
        raise ValueError("the model is in training mode; call model.eval() first")
    network = copy.deepcopy(model)
    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)}
    if not layers:
        raise ValueError("the model has no convolution")

    entered = {}
    handles = [
        layer.register_forward_pre_hook(lambda _, inputs, name=name: entered.update({name: inputs[0]}))
        for name, layer in layers.items()
    ]
    formats = {}
    with torch.no_grad():
        network(images)
        for handle in handles:
            handle.remove()
        for name, layer in layers.items():
            chosen = {"weight": choose(layer.weight, 8), "bias": None, "input": choose(entered[name], 8)}
            layer.weight.copy_(convert(layer.weight, 8, chosen["weight"]))
            if layer.bias is not None:
                chosen["bias"] = choose(layer.bias, 16)
                layer.bias.copy_(convert(layer.bias, 16, chosen["bias"]))
            layer.register_forward_pre_hook(lambda _, inputs, e=chosen["input"]: (convert(inputs[0], 8, e),))
            formats[name] = chosen
    for name, _ in network.named_modules():
        formats.setdefault(name, {"weight": None, "bias": None, "input": None})
    return network, formats
