# Way: starts at the convolutions and looks at their only user
def fold_batch_norms(graph_module, fuse):
    result = copy.deepcopy(graph_module)
    targets = [node.target for node in result.graph.nodes if node.op in ("call_module", "get_attr")]
    for conv in list(result.graph.nodes):
        if conv.op != "call_module" or targets.count(conv.target) != 1 or len(conv.users) != 1:
            continue
        (norm,) = conv.users
        if norm.op != "call_module" or {f"{conv.target}.weight", f"{conv.target}.bias"} & set(targets):
            continue
        first, second = result.get_submodule(conv.target), result.get_submodule(norm.target)
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
            result.set_submodule(conv.target, fuse(first, second))
            norm.replace_all_uses_with(conv)
            result.graph.erase_node(norm)
    result.delete_all_unused_submodules()
    result.recompile()
    return result
