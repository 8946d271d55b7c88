# Mistake: leaves out the second call of a layer
# Rule: a layer that is called twice is listed twice
def operations(graph_module):
    rows, seen = [], set()
    for node in graph_module.graph.nodes:
        if node.op == "call_module" and node.target not in seen:
            seen.add(node.target)
            rows.append((node.name, type(graph_module.get_submodule(node.target)).__name__))
        elif node.op == "call_function":
            rows.append((node.name, node.target.__name__))
        elif node.op == "call_method":
            rows.append((node.name, node.target))
    return rows
