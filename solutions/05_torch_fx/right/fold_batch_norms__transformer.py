# Way: torch.fx.Transformer writes the new graph; fuse is called in any order
def fold_batch_norms(graph_module, fuse):
    whole = copy.deepcopy(graph_module)
    everything = [(n.op, n.target) for n in whole.graph.nodes]
    swallow = set()
    for n in whole.graph.nodes:
        match n.op, n.args:
            case "call_module", (torch.fx.Node(op="call_module") as c, *_):
                kinds = whole.get_submodule(n.target), whole.get_submodule(c.target)
                if (
                    isinstance(kinds[0], nn.BatchNorm2d)
                    and isinstance(kinds[1], nn.Conv2d)
                    and not set(c.users) - {n}
                    and everything.count(("call_module", c.target)) < 2
                    and not {("get_attr", c.target + end) for end in (".weight", ".bias")} & set(everything)
                ):
                    swallow.add((n, kinds, c.target))
    for _, (norm, conv), target in swallow:
        whole.set_submodule(target, fuse(conv, norm))
    gone = {n for n, *_ in swallow}

    class Swallowing(torch.fx.Transformer):
        def run_node(self, n):
            return self.env[n.args[0]] if n in gone else super().run_node(n)

    result = Swallowing(whole).transform()
    result.delete_all_unused_submodules()
    result.recompile()
    return result
