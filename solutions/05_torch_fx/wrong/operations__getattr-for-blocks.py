# Mistake: looks a layer up by getattr, which knows no path with dots
# Rule: every call is listed as (node name, operation)
def operations(graph_module):
    rows = []
    for node in graph_module.graph.nodes:
        if node.op == "call_module":
            rows.append((node.name, type(getattr(graph_module, node.target)).__name__))
        elif node.op == "call_function":
            rows.append((node.name, node.target.__name__))
        elif node.op == "call_method":
            rows.append((node.name, node.target))
    return rows
