# Mistake: goes over the layers in another order
# Rule: make is given the layers in the order of the first calls
def replace_layers(graph_module, kinds, make):
    changed = copy.deepcopy(graph_module)
    targets = dict.fromkeys(node.target for node in changed.graph.nodes if node.op == "call_module")
    for target in reversed(targets):  # each once, in the order of the first calls
        layer = changed.get_submodule(target)
        if isinstance(layer, kinds):
            changed.set_submodule(target, make(layer))
    changed.recompile()
    return changed
