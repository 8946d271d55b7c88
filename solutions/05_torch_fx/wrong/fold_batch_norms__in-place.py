# Mistake: changes the graph module that comes in
# Rule: the graph module that comes in is not changed
def fold_batch_norms(graph_module, fuse):
    folded = graph_module
    calls = Counter(node.target for node in folded.graph.nodes if node.op == "call_module")

    def layer_of(node):
        return folded.get_submodule(node.target) if node.op == "call_module" else None

    for norm in list(folded.graph.nodes):
        if not isinstance(layer_of(norm), nn.BatchNorm2d):
            continue
        conv = norm.args[0]
        if not isinstance(layer_of(conv), nn.Conv2d) or len(conv.users) > 1 or calls[conv.target] > 1:
            continue
        folded.set_submodule(conv.target, fuse(layer_of(conv), layer_of(norm)))
        norm.replace_all_uses_with(conv)
        folded.graph.erase_node(norm)
    folded.delete_all_unused_submodules()
    folded.graph.lint()
    folded.recompile()
    return folded
