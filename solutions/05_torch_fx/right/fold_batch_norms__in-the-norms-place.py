# Way: calls the fused layer by a new node, in the norm's place
def fold_batch_norms(graph_module, fuse):
    folded = copy.deepcopy(graph_module)
    called = Counter(n.target for n in folded.graph.nodes if n.op == "call_module")
    read = {n.target for n in folded.graph.nodes if n.op == "get_attr"}
    for node in list(folded.graph.nodes):
        if node.op != "call_module":
            continue
        norm = folded.get_submodule(node.target)
        if not isinstance(norm, nn.BatchNorm2d):
            continue
        before = node.args[0]
        if before.op != "call_module":
            continue
        conv = folded.get_submodule(before.target)
        if not isinstance(conv, nn.Conv2d):
            continue
        if len(before.users) != 1 or called[before.target] != 1:
            continue
        if f"{before.target}.weight" in read or f"{before.target}.bias" in read:
            continue
        folded.set_submodule(before.target, fuse(conv, norm))
        with folded.graph.inserting_after(node):
            both = folded.graph.call_module(before.target, before.args, before.kwargs)
        node.replace_all_uses_with(both)
        folded.graph.erase_node(node)
        folded.graph.erase_node(before)
    folded.delete_all_unused_submodules()
    folded.graph.lint()
    folded.recompile()
    return folded
