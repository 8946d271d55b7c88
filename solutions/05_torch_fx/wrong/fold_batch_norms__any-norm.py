# Mistake: takes every norm out, whatever stands before it
# Rule: a norm that is not folded stays
def fold_batch_norms(graph_module, fuse):
    folded = copy.deepcopy(graph_module)

    def layer_of(node):
        return folded.get_submodule(node.target) if node.op == "call_module" else None

    for norm in list(folded.graph.nodes):
        if not isinstance(layer_of(norm), nn.BatchNorm2d):
            continue
        conv = norm.args[0]
        folded.set_submodule(conv.target, fuse(layer_of(conv), layer_of(norm)))
        norm.replace_all_uses_with(conv)
        folded.graph.erase_node(norm)
    folded.delete_all_unused_submodules()
    folded.graph.lint()
    folded.recompile()
    return folded
