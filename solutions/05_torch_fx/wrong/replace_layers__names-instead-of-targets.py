# Mistake: takes the node's name for the layer's path
# Rule: every called layer of the kinds is replaced by make(layer), in blocks too
def replace_layers(graph_module, kinds, make):
    changed = copy.deepcopy(graph_module)
    targets = dict.fromkeys(node.name for node in changed.graph.nodes if node.op == "call_module")
    for target in targets:  # each once, in the order of the first calls
        layer = changed.get_submodule(target)
        if isinstance(layer, kinds):
            changed.set_submodule(target, make(layer))
    changed.recompile()
    return changed
