# Mistake: forgets functions and methods
# Rule: placeholder, get_attr and output compute nothing and are left out
def operations(graph_module):
    nodes = [node for node in graph_module.graph.nodes if node.op == "call_module"]
    return [(node.name, type(graph_module.get_submodule(node.target)).__name__) for node in nodes]
