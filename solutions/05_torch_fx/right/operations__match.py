# Way: match statement, layers by named_modules
def operations(graph_module):
    layers = dict(graph_module.named_modules())

    def what(node):
        match node.op:
            case "call_module":
                return layers[node.target].__class__.__name__
            case "call_function":
                return node.target.__name__
            case "call_method":
                return node.target
        return None

    return [(str(node), what(node)) for node in graph_module.graph.nodes if what(node) is not None]
