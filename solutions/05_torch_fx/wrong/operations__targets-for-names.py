# Mistake: gives a layer's path instead of the node's name
# Rule: the first of each pair is the node's own name
def operations(graph_module):
    rows = []
    for node in graph_module.graph.nodes:
        if node.op == "call_module":
            rows.append((node.target, type(graph_module.get_submodule(node.target)).__name__))
        elif node.op == "call_function":
            rows.append((node.name, node.target.__name__))
        elif node.op == "call_method":
            rows.append((node.name, node.target))
    return rows
