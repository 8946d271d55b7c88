# Mistake: setattr with a dotted name makes an attribute of that name and replaces nothing
# Rule: every called layer of the kinds is replaced by make(layer), in blocks too
def replace_layers(graph_module, kinds, make):
    changed = copy.deepcopy(graph_module)
    targets = dict.fromkeys(node.target for node in changed.graph.nodes if node.op == "call_module")
    for target in targets:  # each once, in the order of the first calls
        layer = changed.get_submodule(target)
        if isinstance(layer, kinds):
            setattr(changed, target, make(layer)) if "." not in target else make(layer)
    changed.recompile()
    return changed
