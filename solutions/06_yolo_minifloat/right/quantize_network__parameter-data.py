# Way: writes into .data and converts by a method as hook
class ToMinifloat:
    def __init__(self, convert, exponent_bits):
        self.convert, self.exponent_bits = convert, exponent_bits

    def __call__(self, layer, inputs):
        return self.convert(*inputs, 8, self.exponent_bits)


def quantize_network(model, images, convert=None, choose=None):
    convert, choose = convert or symbolic_convert, choose or search
    if model.training or not any(isinstance(m, nn.Conv2d) for m in model.modules()):
        raise ValueError("not a model that can be quantized")
    inputs = {}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d):

            def keep(layer, arguments, name=name):
                inputs[name] = arguments[0].clone()

            handle = layer.register_forward_pre_hook(keep)
            try:
                with torch.no_grad():
                    model(images)
            finally:
                handle.remove()
    result = copy.deepcopy(model)
    formats = {}
    for name, x in inputs.items():
        layer = result.get_submodule(name)
        row = formats.setdefault(name, dict.fromkeys(("weight", "bias", "input")))
        for kind, bits in (("weight", 8), ("bias", 16)):
            parameter = getattr(layer, kind)
            if parameter is not None:
                row[kind] = choose(parameter.data, bits)
                parameter.data = convert(parameter.data, bits, row[kind])
        row["input"] = choose(x, 8)
        layer.register_forward_pre_hook(ToMinifloat(convert, row["input"]))
    return result, formats
