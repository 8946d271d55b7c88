# Way: new layers under new names, nodes redirected to them
def replace_layers(graph_module, kinds, make):
    result = copy.deepcopy(graph_module)
    layers = dict(result.named_modules())
    new_names = {}
    for node in result.graph.nodes:
        if node.op != "call_module" or not isinstance(layers[node.target], kinds):
            continue
        if node.target not in new_names:
            new_names[node.target] = f"replaced_{len(new_names)}"
            result.add_submodule(new_names[node.target], make(layers[node.target]))
        node.target = new_names[node.target]
    result.graph.lint()
    result.recompile()
    return result
