# Way: a context that removes the hooks, and lists of all numbers, compared at the end
def layer_ranges(model, batches):
    import contextlib

    seen = {name: ([0.0], [0.0]) for name, layer in model.named_modules() if isinstance(layer, (nn.Linear, nn.Conv2d))}

    def noting(name):
        def hook(layer, inputs, output):
            for numbers, tensor in zip(seen[name], (inputs[0], output), strict=True):
                low, high = torch.aminmax(tensor.detach())
                numbers.append(max(-low.item(), high.item()))

        return hook

    with contextlib.ExitStack() as stack, torch.no_grad():
        for name in seen:
            stack.callback(model.get_submodule(name).register_forward_hook(noting(name)).remove)
        for batch in batches:
            model(batch)
    return {name: (max(inputs), max(outputs)) for name, (inputs, outputs) in seen.items()}
