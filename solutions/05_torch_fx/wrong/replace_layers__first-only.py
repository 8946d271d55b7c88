# Mistake: stops after the first one
# Rule: every called layer of the kinds is replaced by make(layer)
def replace_layers(graph_module, kinds, make):
    changed = copy.deepcopy(graph_module)
    targets = dict.fromkeys(node.target for node in changed.graph.nodes if node.op == "call_module")
    for target in targets:  # each once, in the order of the first calls
        layer = changed.get_submodule(target)
        if isinstance(layer, kinds):
            changed.set_submodule(target, make(layer))
            break
    changed.recompile()
    return changed
