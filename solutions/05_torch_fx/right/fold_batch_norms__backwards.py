# Way: from the last node to the first
def fold_batch_norms(graph_module, fuse):
    out = copy.deepcopy(graph_module)
    g = out.graph
    taken = {}
    for n in g.nodes:
        taken.setdefault(n.op, []).append(n.target)

    def layer(n):
        return out.get_submodule(n.target) if n.op == "call_module" else None

    for norm in reversed(list(g.nodes)):
        if not isinstance(layer(norm), nn.BatchNorm2d):
            continue
        (conv,) = norm.all_input_nodes
        if not isinstance(layer(conv), nn.Conv2d) or len(conv.users) > 1 or taken["call_module"].count(conv.target) > 1:
            continue
        if any(re.fullmatch(re.escape(conv.target) + r"\.(weight|bias)", t) for t in taken.get("get_attr", ())):
            continue
        fused = fuse(layer(conv), layer(norm))
        *block, name = conv.target.split(".")
        out.get_submodule(".".join(block))._modules[name] = fused
        with g.inserting_before(conv):
            new = g.call_module(conv.target, conv.args, conv.kwargs)
        norm.replace_all_uses_with(new)
        g.erase_node(norm)
        g.erase_node(conv)
    out.delete_all_unused_submodules()
    out.recompile()
    return out
