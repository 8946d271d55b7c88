# Mistake: replaces at every call, so twice where a layer is called twice
# Rule: make is called once for each layer
def replace_layers(graph_module, kinds, make):
    changed = copy.deepcopy(graph_module)
    for node in changed.graph.nodes:
        if node.op == "call_module":
            layer = changed.get_submodule(node.target)
            if isinstance(layer, kinds):
                changed.set_submodule(node.target, make(layer))
    changed.recompile()
    return changed
