# Way: numbers the layers by name, and builds the decisions backwards
def _follower(graph_module, node):
    if len(node.users) != 1:
        return None
    user = next(iter(node.users))
    if user.op == "call_module" and type(graph_module.get_submodule(user.target)) in (nn.ReLU, nn.ReLU6):
        return user
    return None


def recreate(model, config, make):
    graph_module = fx.GraphModule(new := copy.deepcopy(model), fx.Tracer().trace(new))
    calls = [node for node in graph_module.graph.nodes if node.op == "call_module"]
    numbered = {}
    for kind in KINDS:
        of_kind = [node for node in calls if kind_of(graph_module.get_submodule(node.target)) == kind]
        numbered.update({(kind, number): node for number, node in enumerate(of_kind)})
    decided = {}
    for table in config[::-1]:
        if table["kind"] not in KINDS:
            raise ValueError(f"unknown kind {table['kind']}")
        wanted = table.get("indices")
        if wanted is None:
            wanted = [number for kind, number in numbered if kind == table["kind"]]
        for number in wanted:
            if (table["kind"], number) not in numbered:
                raise ValueError(f"no layer {number}")
            decided.setdefault(numbered[table["kind"], number], table)
    for node in calls:
        if node not in decided:
            continue
        options = {key: value for key, value in decided[node].items() if key not in ("kind", "indices")}
        follower = _follower(graph_module, node) if options.get("merge_relu", False) else None
        relu = None if follower is None else graph_module.get_submodule(follower.target)
        made = make(graph_module.get_submodule(node.target), relu, options)
        graph_module.set_submodule(node.target, made)
        if follower is not None:
            follower.replace_all_uses_with(node)
            graph_module.graph.erase_node(follower)
    graph_module.recompile()
    return graph_module
