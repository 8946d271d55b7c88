# Way: setattr on the parent layer
def replace_layers(graph_module, kinds, make):
    result = copy.deepcopy(graph_module)
    done = []
    for node in result.graph.nodes:
        if node.op != "call_module" or node.target in done:
            continue
        done.append(node.target)
        parent, _, name = node.target.rpartition(".")
        parent = result.get_submodule(parent)
        if isinstance(getattr(parent, name), kinds):
            setattr(parent, name, make(getattr(parent, name)))
    return result
