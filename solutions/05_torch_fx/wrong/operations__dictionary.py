# Mistake: returns a dictionary
# Rule: the result is a list of tuples of two
def operations(graph_module):
    rows = []
    for node in graph_module.graph.nodes:
        if node.op == "call_module":
            rows.append((node.name, type(graph_module.get_submodule(node.target)).__name__))
        elif node.op == "call_function":
            rows.append((node.name, node.target.__name__))
        elif node.op == "call_method":
            rows.append((node.name, node.target))
    return dict(rows)
