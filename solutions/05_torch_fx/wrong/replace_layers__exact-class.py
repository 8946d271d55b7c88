# Mistake: compares classes, so subclasses and tuples are not found
# Rule: every called layer of the kinds is replaced by make(layer)
def replace_layers(graph_module, kinds, make):
    changed = copy.deepcopy(graph_module)
    targets = dict.fromkeys(node.target for node in changed.graph.nodes if node.op == "call_module")
    for target in targets:  # each once, in the order of the first calls
        layer = changed.get_submodule(target)
        if type(layer) in (kinds if isinstance(kinds, tuple) else (kinds,)) and "." not in target:
            changed.set_submodule(target, make(layer))
    changed.recompile()
    return changed
