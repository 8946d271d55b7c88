# Mistake: makes a layer of its own for each call, so weights are no longer shared
# Rule: make is called once for each layer
def replace_layers(graph_module, kinds, make):
    changed = copy.deepcopy(graph_module)
    layers = dict(changed.named_modules())
    for number, node in enumerate(changed.graph.nodes):
        if node.op == "call_module" and isinstance(layers[node.target], kinds):
            layer = layers[node.target]
            node.target = f"made_{number}"
            changed.add_submodule(node.target, make(layer))
    changed.recompile()
    return changed
