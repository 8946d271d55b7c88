# Mistake: lists all nodes
# Rule: placeholder, get_attr and output compute nothing and are left out
def operations(graph_module):
    rows = []
    for node in graph_module.graph.nodes:
        if node.op == "call_module":
            rows.append((node.name, type(graph_module.get_submodule(node.target)).__name__))
        else:
            rows.append((node.name, getattr(node.target, "__name__", node.target)))
    return rows
