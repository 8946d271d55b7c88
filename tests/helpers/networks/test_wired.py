"""Networks from plain data: layers at their paths, classes derived by name, and what others leave on layers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.fx import symbolic_trace

from course_utils.checks import expect_unchanged, state_of
from course_utils.checks.expectations import CheckFailed
from course_utils.networks import Wired, draw_paths, lived_in, traced
from course_utils.networks.wired import layer_class

CONVOLUTION = {"in_channels": 3, "out_channels": 3, "kernel_size": 1}
LAYERS = {"a": ("stem.0", "Mine(Yours(Conv2d))", CONVOLUTION), "r": ("abs", "ReLU", {})}


def test_a_network_computes_its_expression():
    network = Wired(LAYERS, "torch.cat([r(a(x)).abs(), x], 1)")
    x = torch.randn(2, 3, 4, 4)
    wanted = torch.cat([network.get_submodule("stem.0")(x).relu(), x], 1)
    assert torch.equal(network(x), wanted)
    graph = symbolic_trace(network)
    assert torch.equal(graph(x), wanted)
    assert [str(node.target) for node in graph.graph.nodes if node.op == "call_module"] == ["stem.0", "abs"]


PROGRAMS = [
    "r(a(x))",
    "a(r(a(x)).abs()) - a(input=x)",
    "(lambda y: (r(y), [y, {'b': x}]))(a(x))",
    "(lambda y: torch.cat([x, y]) - a(y)[0])(a(x))",
    "torch.add(functional.relu(a(x)), other=x) * a.weight.mean() + operator.mul(a.bias.view(1, 3, 1, 1), 2)",
    "r(x.flatten(0, 1)).view(x.shape)",
]


def meta_of(node):
    stack = node.meta.get("nn_module_stack", {})
    return sorted(set(node.meta) - {"nn_module_stack"}), list(stack.values())


@pytest.mark.parametrize("program", PROGRAMS)
def test_traced_is_what_torch_traces(program):
    network = lived_in(Wired(LAYERS, program), 5).eval()
    ours, torchs = traced(network), symbolic_trace(network)
    nodes = [
        [(n.op, n.name, n.target, str(n.args), str(n.kwargs), meta_of(n)) for n in g.graph.nodes]
        for g in (ours, torchs)
    ]
    assert nodes[0] == nodes[1]
    assert ours.code == torchs.code
    expect_unchanged(state_of(torchs), state_of(ours), "what a check sees of both is the same")
    x = torch.randn(2, 3, 4, 4)
    assert str(ours(x)) == str(torchs(x))
    ours.graph.lint()


def test_traced_takes_other_networks_too():
    assert traced(nn.Sequential(nn.ReLU())).code == symbolic_trace(nn.Sequential(nn.ReLU())).code


def test_classes_are_derived_by_name():
    mine = layer_class("Mine(Yours(Conv2d))")
    assert [c.__name__ for c in mine.__mro__[:3]] == ["Mine", "Yours", "Conv2d"]
    assert mine.__mro__[2] is nn.Conv2d
    assert layer_class("Conv2d(ReLU)") is not nn.Conv2d
    assert layer_class("ReLU") is nn.ReLU


def test_paths_are_drawn_anew_and_none_begins_with_another():
    names = [str(i) for i in range(40)]
    paths = draw_paths(names, torch.Generator().manual_seed(0))
    assert list(paths) == names
    assert {path.count(".") for path in paths.values()} == {0, 1, 2}
    values = list(paths.values())
    assert not any(f"{a}.".startswith(f"{b}.") for a in values for b in values if a != b)
    assert paths != draw_paths(names, torch.Generator().manual_seed(1))
    layers = {name: (path, "ReLU", {}) for name, path in paths.items()}
    assert {path for path, m in Wired(layers, "x").named_modules() if isinstance(m, nn.ReLU)} == set(values)


def test_what_others_leave_is_there_and_does_nothing():
    def made(seed):
        torch.manual_seed(0)
        return lived_in(Wired(LAYERS, "r(a(x))"), seed)

    x = torch.randn(1, 3, 2, 2)
    told = [state_of(made(seed)) for seed in range(8)]
    for part, values in {"hooks": {"0 hooks", "1 hooks", "2 hooks"}, "weight.requires_grad": {"True", "False"}}.items():
        assert {state[f"stem.0.{part}"] for state in told} == values
    assert any("note_of_others" in state["stem.0.attributes"] for state in told)
    assert any(state["stem.0.weight.grad"] is not None for state in told)
    for seed in range(8):
        assert torch.equal(made(seed)(x), made(seed + 1)(x))
        expect_unchanged(state_of(made(seed)), state_of(made(seed)), "the same seed leaves the same")
    network = made(3)
    other = copy.deepcopy(network)
    next(other.parameters()).data.zero_()
    with pytest.raises(CheckFailed):
        expect_unchanged(state_of(network), state_of(other), "")
