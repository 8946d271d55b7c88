# Mistake: lists the layers that the network has instead of the calls
# Rule: placeholder, get_attr and output compute nothing and are left out
def operations(graph_module):
    return [(name.replace(".", "_"), type(layer).__name__) for name, layer in graph_module.named_modules() if name]
