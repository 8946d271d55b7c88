# Mistake: names a layer by its target
# Rule: a layer is named by its class
def operations(graph_module):
    rows = []
    for node in graph_module.graph.nodes:
        if node.op == "call_module":
            rows.append((node.name, node.target))
        elif node.op == "call_function":
            rows.append((node.name, node.target.__name__))
        elif node.op == "call_method":
            rows.append((node.name, node.target))
    return rows
