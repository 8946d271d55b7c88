# Mistake: gives the function itself
# Rule: a function is named by its __name__
def operations(graph_module):
    rows = []
    for node in graph_module.graph.nodes:
        if node.op == "call_module":
            rows.append((node.name, type(graph_module.get_submodule(node.target)).__name__))
        elif node.op == "call_function":
            rows.append((node.name, str(node.target)))
        elif node.op == "call_method":
            rows.append((node.name, node.target))
    return rows
