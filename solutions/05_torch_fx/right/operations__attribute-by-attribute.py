# Way: walks the path of a layer itself, a table of functions
def operations(graph_module):
    def layer_class(target):
        layer = graph_module
        for part in target.split("."):
            layer = getattr(layer, part)
        return type(layer).__name__

    name_of = {"call_module": layer_class, "call_function": lambda f: f.__name__, "call_method": str}
    return [(n.name, name_of[n.op](n.target)) for n in graph_module.graph.nodes if n.op in name_of]
