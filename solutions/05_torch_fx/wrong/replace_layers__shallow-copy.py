# Mistake: copies the graph, but not the layers
# Rule: the graph module that comes in is not changed
def replace_layers(graph_module, kinds, make):
    changed = copy.copy(graph_module)
    targets = dict.fromkeys(node.target for node in changed.graph.nodes if node.op == "call_module")
    for target in targets:  # each once, in the order of the first calls
        layer = changed.get_submodule(target)
        if isinstance(layer, kinds):
            changed.set_submodule(target, make(layer))
    changed.recompile()
    return changed
