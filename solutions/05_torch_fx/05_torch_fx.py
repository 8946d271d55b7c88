# ---
# jupyter:
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
#   course:
#     title: Real quantization with torch.fx
#     minutes: 170
#     check_seconds: 10
#     withhold:
#       - course_utils.numerics.affine
#       - course_utils.quantization.real_quantization.quantize
#       - torch.nn.utils.fusion.fuse_conv_bn_eval
#       - torch.nn.utils.fusion.fuse_conv_bn_weights
#       - torch.ao.quantization.fuse_conv_bn
#       - torch.ao.quantization.fuse_modules
#       - torch.ao.quantization.quantize_fx.fuse_fx
#       - torch.fx.experimental.optimization.fuse
#       - "@torch_fake_quantizers"
# ---

# %% [markdown]
# # Real quantization with torch.fx
#
# **Goal.** You take a network apart into its graph, change the graph, and let torch turn it into a network that
# really computes with 8-bit integers. Afterwards you can read and rewrite an fx graph, fold batch normalization into
# convolutions, say where a quantized file's bytes go, and train a network so that 4 bits hurt less. **Time:** almost
# three hours. You need Python and linear algebra; what this lab takes from earlier ones is repeated
# here.
#
# include: how_to_work.md
#
# Refused here: torch's ways to fuse convolution and batch norm (`fuse_conv_bn_eval` and its relatives) and to quantize
# and dequantize (`torch.fake_quantize_per_tensor_affine` and its relatives).
#
# <details><summary>Sources</summary>
#
# "The assignment" and "the lecture" are those on static quantization in Yung-Hsiang Lu's course *Computer
# Vision for Embedded Systems* (Purdue). "The report" is one from TU Wien on a Tiny YOLOv3 with few bits. The rest is
# torch's own documentation, and Jacob and colleagues, *Quantization and Training of Neural Networks for Efficient
# Integer-Arithmetic-Only Inference* (2018).
#
# </details>

# %%
import copy
import math
import re
import warnings
from collections import Counter

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.fx import symbolic_trace
from torch.nn import functional

from course_utils.checks import *
from course_utils.networks import Wired, accuracy, draw_paths, lived_in, load_trained, normalize, traced
from course_utils.pictures import COLOURS, channel_ranges, use_course_style

use_course_style()
torch.set_num_threads(1)  # one thread, so that the times of this lab can be compared

# torch says that its fx quantization will be removed, and that the quantized dtypes and TorchScript will follow. We
# know; a later section is about the successor. The messages come dozens of times, so exactly these are silenced.
warnings.filterwarnings("ignore", "torch.ao.quantization is deprecated", DeprecationWarning)
warnings.filterwarnings("ignore", "Please use quant_min and quant_max to specify the range", UserWarning)
warnings.filterwarnings("ignore", r"torch\.quantize_per_tensor, torch\.quantize_per_channel and other", UserWarning)
warnings.filterwarnings("ignore", "Using padding='same' with even kernel", UserWarning)
warnings.filterwarnings("ignore", r"`?torch\.jit\.", FutureWarning)
warnings.filterwarnings("ignore", r"`?torch\.jit\.", DeprecationWarning)

# %% [markdown]
# ## Idea
#
# A torch network is a Python program: `forward` may do anything. A quantizer has to know *which* operations follow
# one another, to put each of them on integers. **Symbolic tracing** finds out: `symbolic_trace(model)` calls
# `forward` once, not with a tensor but with a *proxy* that writes down whatever is done to it. The result is a
# `GraphModule`: still an `nn.Module` with the same layers, but its `forward` is generated from a list of **nodes**,
# which you can read and change. A node has
#
# | attribute | meaning |
# |---|---|
# | `node.op` | what kind of node it is, see below |
# | `node.target` | what is called: a layer's name, a function, a method's name |
# | `node.args` | what it is called with; results of other nodes stand here as those nodes |
# | `node.users` | the nodes that use its result |
# | `node.name` | a name of its own within the graph |
#
# and there are six kinds:
#
# | `node.op` | example in `forward` | `node.target` |
# |---|---|---|
# | `"placeholder"` | the argument `x` | `"x"` |
# | `"call_module"` | `self.conv(x)` | `"conv"`, in a block `"stem.0"` (a string) |
# | `"call_function"` | `functional.relu(x)` | the function itself |
# | `"call_method"` | `x.flatten(1)` | `"flatten"` |
# | `"get_attr"` | `self.weight` | `"weight"` |
# | `"output"` | `return x` | `"output"` |
#
# Small networks for the exercises, and the graph of the first:


# %%
class Small(nn.Module):
    """A layer, a function, a block, a method: one of each kind of call."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Sequential(nn.Linear(4 * 8 * 8, 16), nn.ReLU(), nn.Linear(16, 5))

    def forward(self, x):
        x = functional.relu(self.conv(x))
        return self.head(x.flatten(1))


class Tangle(nn.Module):
    """What real networks do: blocks, a layer that is called twice, a result that is used twice, a norm on its own."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU())
        self.twice = nn.Conv2d(6, 6, 3, padding=1)
        self.twice_norm = nn.BatchNorm2d(6)
        self.branch = nn.Conv2d(6, 6, 1)
        self.branch_norm = nn.BatchNorm2d(6)
        self.alone = nn.BatchNorm2d(6)
        self.last = nn.Conv2d(6, 4, 3, stride=2, groups=2)
        self.last_norm = nn.BatchNorm2d(4, affine=False)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        x = self.stem(x)
        x = self.twice_norm(self.twice(self.twice(x)))
        y = self.branch(x)
        y = self.branch_norm(y) + y
        y = self.alone(functional.relu(y))
        y = self.last_norm(self.last(y))
        return self.fc(y.mean((2, 3)))


class Crossed(nn.Module):
    """Blocks in blocks in blocks, whose layers are called in another order than they are listed."""

    def __init__(self):
        super().__init__()
        self.deep = nn.Sequential(nn.Sequential(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 3, padding=1))))
        self.between = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        first, second = self.deep[0][0]
        return self.between(first(self.between(second(x))).abs())


class Scaled(nn.Module):
    """Wraps a layer and multiplies what it returns."""

    def __init__(self, layer, factor):
        super().__init__()
        self.layer, self.factor = layer, factor

    def forward(self, input):
        return self.factor * self.layer(input)


def filled(network, seed):
    """The network in eval mode with random parameters, and random statistics in its batch norms; float64."""
    g = torch.Generator().manual_seed(seed)
    network = network.double().eval()
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randn(p.shape, generator=g, dtype=p.dtype) / math.sqrt(max(1, p[0].numel())))
        for m in network.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.running_mean.copy_(torch.randn(m.num_features, generator=g))
                m.running_var.copy_(0.1 + 2 * torch.rand(m.num_features, generator=g))
                if m.affine:
                    m.weight.copy_(0.3 + 2 * torch.rand(m.num_features, generator=g))
    return network


def network_of(description, seed):
    """A filled network: one of those above by its name, or what the checks draw: layers and what is computed."""
    named = {"Small": Small, "Tangle": Tangle, "Crossed": Crossed}
    return filled(named[description]() if isinstance(description, str) else Wired(*description), seed)


def norm_behind(settings, numbers, eps, dtypes, training, seed):
    """A convolution and a norm that hold given numbers, and what others leave on layers."""
    conv = nn.Conv2d(**settings).to(getattr(torch, dtypes[0])).train(training)
    bn = nn.BatchNorm2d(settings["out_channels"], eps=eps, affine="gamma" in numbers)
    bn = bn.to(getattr(torch, dtypes[1])).eval()
    with torch.no_grad():
        for layer, names in (
            (conv, {"weight": "weight", "bias": "bias"}),
            (bn, {"weight": "gamma", "bias": "beta", "running_mean": "mean", "running_var": "var"}),
        ):
            for attribute, name in names.items():
                if name in numbers:
                    getattr(layer, attribute).copy_(numbers[name])
    return lived_in(conv, seed), lived_in(bn, seed)


# %% tags=["explore"]
graph = symbolic_trace(Small())
print(f"{'name':10s} {'op':14s} {'target':34s} args")
for node in graph.graph.nodes:
    target = node.target if isinstance(node.target, str) else f"function {node.target.__name__}"
    print(f"{node.name:10s} {node.op:14s} {target:34s} {node.args}")
print("\nand the program that torch generates from these nodes:")
print(graph.code.strip())

# %% [markdown]
# Three things to know about tracing. The proxy has no values, so an `if x.sum() > 0:` in `forward` raises an error.
# Tracing looks into classes of your own (and into `nn.Sequential`), but stops at the layers of `torch.nn`: each of
# those becomes one node. And `graph.conv` is the *same* layer object as before: tracing copies nothing.
#
# ## Exercise 1: read a graph
#
# Write down what a network computes, in order: for each node that *calls* something its name and what is called. A
# layer is named by its class (`graph_module.get_submodule("stem.0")` finds the layer to a target), a function by its
# `__name__`, a method by its name. The other three kinds of node compute nothing and are left out.


# %% nbgrader={"grade_id": "operations", "solution": true}
def operations(graph_module):
    """What a traced network computes, in the order in which it does.

    Args:
        graph_module: torch.fx.GraphModule, as symbolic_trace returns it.

    Returns:
        A list of tuples (name, operation) of two strings, one for every node whose op is call_module, call_function or
        call_method, also where nobody uses its result: the node's name, and the class name of the layer, the __name__
        of the function, or the name of the method.
    """
    ### BEGIN SOLUTION
    rows = []
    for node in graph_module.graph.nodes:
        if node.op == "call_module":
            rows.append((node.name, type(graph_module.get_submodule(node.target)).__name__))
        elif node.op == "call_function":
            rows.append((node.name, node.target.__name__))
        elif node.op == "call_method":
            rows.append((node.name, node.target))
    return rows
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_operations", "grade": true, "points": 2}
with check("operations"):

    @probe
    def operations_of(name):
        return operations(symbolic_trace({"Small": Small, "Tangle": Tangle}[name]()))

    @probe
    def operations_by_hand(calls, later):
        """Of a graph made by hand, and again when later calls stand at its beginning. Only one result is used."""

        class Odd(nn.Sequential):
            """Holds a layer of its own, and does not tell its name."""

            def __repr__(self):
                return "no name"

            _get_name = __repr__

        def function(what):
            for place in (torch, __import__("operator"), __import__("builtins")):
                if hasattr(place, what):
                    return getattr(place, what)
            made = lambda x: x  # noqa: E731
            made.__name__ = what
            return made

        graph_module = torch.fx.GraphModule(nn.Module(), torch.fx.Graph())
        graph_module.shift = nn.Parameter(torch.zeros(1))
        graph, paths = graph_module.graph, {}
        x, _ = graph.placeholder("x"), graph.get_attr("shift")

        def add(calls):
            for name, op, what in calls:
                if op == "call_module" and what not in paths:
                    paths[what] = f"block.{len(paths)}.relu"
                    layer = getattr(nn, what)() if hasattr(nn, what) else type(what, (Odd,), {})(nn.ReLU())
                    graph_module.add_submodule(paths[what], layer)
                target = {"call_module": paths.get(what), "call_function": function(what), "call_method": what}[op]
                last = graph.create_node(op, target, (x,), {}, name)
            return last

        graph.output(add(calls))
        first = operations(graph_module)
        with graph.inserting_after(x):
            add(later[::-1])
        return first, operations(graph_module)

    rule = "every call is listed as (node name, operation), in the order of the graph"
    hint = "one loop over graph_module.graph.nodes, with a branch for each kind of call"
    got = expect_returns(lambda: operations_of("Small"), rule, given="Small", hint=hint)
    expect(
        isinstance(got, list)
        and all(isinstance(row, tuple) and len(row) == 2 and all(isinstance(p, str) for p in row) for row in got),
        "the result is a list of tuples of two strings",
        got=got,
        hint="collect pairs in a list; what is the type of each half?",
    )
    expect_equal(
        len(got),
        6,
        "placeholder, get_attr and output compute nothing and are left out; all other nodes are listed",
        given="Small: conv, relu, flatten and three layers of the head",
        hint="look at node.op",
    )
    expect_equal(
        [name for name, _ in got],
        ["conv", "relu", "flatten", "head_0", "head_1", "head_2"],
        "the first of each pair is the node's own name",
        hint="the target of a layer in a block has dots in it; which attribute has none?",
    )
    expect_equal(
        [what for _, what in got if what in ("relu", "flatten")],
        ["relu", "flatten"],
        "a function is named by its __name__, a method by its name",
        given="functional.relu(x) and x.flatten(1)",
        hint="the target of a call_function is the function itself",
    )
    expect_equal(
        [what for _, what in got if what not in ("relu", "flatten")],
        ["Conv2d", "Linear", "ReLU", "Linear"],
        "a layer is named by its class",
        given="Small: conv, head.0, head.1, head.2",
        hint="find the layer by its target, and ask for the name of its type",
    )
    expect_equal(
        expect_returns(lambda: operations_of("Tangle"), rule, given="Tangle", hint=hint)[3:6],
        [("twice", "Conv2d"), ("twice_1", "Conv2d"), ("twice_norm", "BatchNorm2d")],
        "a layer that is called twice is listed twice",
        given="Tangle",
        hint="go over the nodes of the graph, not over the layers of the network",
    )

    def look(calls, later):
        """calls, later: lists of (op, what is called). Node names are drawn."""
        numbers = iter(torch.randperm(9000, generator=g).tolist())
        calls, later = ([(f"n{next(numbers)}_x", *call) for call in part] for part in (calls, later))
        told = f"a graph made by hand, whose results nobody uses but the last: {calls[:12]}"
        first, second = expect_returns(lambda: operations_by_hand(calls, later), rule, given=told, hint=hint)
        for rows, wanted, given in (
            (first, calls, told),
            (second, later + calls, f"the same graph, when {later} were put at its beginning"),
        ):
            expect_equal(
                len(rows),
                len(wanted),
                "placeholder, get_attr and output compute nothing and are left out; all other nodes are listed",
                given=f"{given}; a parameter that is read",
                hint="ask for the three kinds that call something; a layer that is called twice is two nodes",
            )
            expect_equal(
                [name for name, _ in rows],
                [name for name, _, _ in wanted],
                "the first of each pair is the node's own name",
                given=given,
                hint="in the order of graph.nodes; what was kept from an earlier call?",
            )
            for part, ops, hint_of_part in (
                ("a layer is named by its class", ("call_module",), "type(layer).__name__, as it is, of any layer"),
                (
                    "a function is named by its __name__, a method by its name",
                    ("call_function", "call_method"),
                    "any function and any method, by its whole name",
                ),
            ):
                places = [i for i, (_, op, _) in enumerate(wanted) if op in ops]
                got = [rows[i][1] for i in places]
                expect_equal(got, [wanted[i][2] for i in places], part, given=given, hint=hint_of_part)

    def mixed(layers, functions, methods):
        rows = [("call_module", what) for what in layers] + [("call_function", what) for what in functions]
        rows += [("call_method", what) for what in methods]
        return [rows[i] for i in torch.randperm(len(rows), generator=g)]

    g = generator()
    layers = ["ReLU", "Identity", "Dropout", "Flatten", "Sequential", "_Conv2d", "conv_2d_", "Mine", "relu", "ReLU"]
    functions = [
        "atan2",
        "relu",
        "getitem",
        "getattr",
        "add",
        "and_",
        "_private",
        "exp2_",
        "Conv2d",
        "print",
        "add.Tensor",
    ]
    methods = ["log2", "abs", "relu_", "__add__", "size", "flatten", "ReLU", "getitem", "_abs", "contiguous", "abs"]
    look(mixed(layers, functions, methods), [("call_module", "Tanh"), ("call_method", "neg_"), ("call_module", "Mine")])
    look([("call_method", f"do_{i}") for i in range(401)], [("call_function", "sub")])
    look([("call_module", "Mine_7")], [("call_module", "Mine_7"), ("call_module", "Other")])
    ### BEGIN HIDDEN TESTS
    names = ["Sigmoid", "GELU", "Identity", "Hardtanh", "SiLU", "_Odd_1", "lower", "Flatten", "Softmax2d", "__Two__"]
    names = names, ["exp2", "relu", "sub", "max", "log1p", "matmul", "iadd", "or_", "_f", "f_", "getitem", "len"]
    names = *names, ["exp2", "sum", "square", "log1p", "mean", "add_", "Sigmoid", "__getitem__", "to", "_m"]
    for _ in range(3):
        part = mixed(*[[pool[i] for i in torch.randperm(len(pool), generator=g)[:6]] for pool in names])
        look(part + part[:4], mixed(["Mine", "Hardtanh"], ["log1p"], ["neg"]))
    expect_equal(
        len(operations_of("Tangle")), 15, rule, given="Tangle", hint="functions such as operator.add count too"
    )
    ### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 2: replace layers
#
# The simplest change to a graph leaves its nodes as they are and puts other layers behind their targets. That is how
# every quantizer begins: each convolution and each linear layer is replaced by a version that knows about grids.
#
# `replace_layers(graph_module, kinds, make)` returns a **new** graph module in which every *called* layer of the
# given kinds is replaced by `make(layer)`. Three things to get right:
#
# - The network that comes in must stay as it was. `copy.deepcopy` of a graph module copies graph and layers; give
#   `make` the layer of the *copy*, because what it makes may hold on to that layer and train it.
# - A layer that is called twice is still *one* layer with one set of weights: `make` is called once for it.
# - What `make` returns may itself be of one of the kinds. It must not be replaced again.
#
# `graph_module.set_submodule("stem.0", layer)` puts a layer at a target. The nodes stay as they are, and with them the
# program.


# %% nbgrader={"grade_id": "replace_layers", "solution": true}
def replace_layers(graph_module, kinds, make):
    """A copy of a traced network with some of its layers replaced.

    Args:
        graph_module: torch.fx.GraphModule, as symbolic_trace returns it: each layer has one target in it. It is not
            changed, nor are its layers.
        kinds: a class of layers, or a tuple of classes; subclasses count.
        make: function that takes a layer (of the copy) and returns the nn.Module that is to be called instead, as it
            is, in its own mode. It is called once for each layer of these kinds that the graph calls, however often the
            graph calls it, in the order of the first calls; never for what it returned itself.

    Returns:
        A new torch.fx.GraphModule, which shares no layer and no tensor with graph_module. Layers of other kinds stay
        as they are.
    """
    ### BEGIN SOLUTION
    changed = copy.deepcopy(graph_module)
    targets = dict.fromkeys(node.target for node in changed.graph.nodes if node.op == "call_module")
    for target in targets:  # each once, in the order of the first calls
        layer = changed.get_submodule(target)
        if isinstance(layer, kinds):
            changed.set_submodule(target, make(layer))
    return changed
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_replace_layers", "grade": true, "points": 4}
with check("replace_layers"):

    @probe
    def replaced(description, seed, kinds, training, way, factors, x):
        """What came of it: make wraps a copy of each layer, or halves its weights; then it ruins what it was handed."""
        graph = lived_in(traced(network_of(description, seed)), seed).train(training)
        classes = tuple(
            type(graph.get_submodule(kind[1:])) if kind[0] == "=" else __import__("operator").attrgetter(kind)(nn)
            for kind in ([kinds] if isinstance(kinds, str) else kinds)
        )
        handed, made = [], []

        def make(layer):
            handed.append([type(layer).__name__, *[p.detach().clone() for p in layer.parameters()]])
            made.append(copy.deepcopy(layer))
            with torch.no_grad():
                for p in made[-1].parameters() if way == "halved" else ():
                    p.div_(2)
                for p in layer.parameters():
                    p.zero_()
            if way == "wrapped":
                made[-1] = Scaled(made[-1], len(made))
                made[-1].training = len(made) % 2 == 0  # in eval mode and in training mode by turns
            return made[-1]

        new = replace_layers(graph, classes[0] if isinstance(kinds, str) else classes, make)
        after = state_of(graph)
        nodes = list(new.graph.nodes)
        layers = [state_of(new.get_submodule(node.target)) for node in nodes if node.op == "call_module"]
        mode = state_of(new)["training"]
        for layer, factor in zip(made if way == "wrapped" else (), factors):  # noqa: B905
            layer.factor = factor
        output = new.eval()(x).detach()
        with torch.no_grad():
            for t in (*new.parameters(), *new.buffers()):
                t.fill_(3)
        return {
            "classes": [c.__name__ for c in type(new).__mro__],
            "nodes": [[node.op, node.name] for node in nodes],
            "layers": [{k: v for k, v in state.items() if not k.endswith(".grad")} for state in layers],
            "mode": mode,
            "handed": handed,
            "after": after,
            "output": output,
            "written": state_of(graph),
        }

    def look(description, kinds, paths, seed=0, training=True, way="wrapped"):
        """paths: of the layers that are replaced, in the order of their first calls."""
        told = (
            {name: f"{path}: {kind}" for name, (path, kind, _) in description[0].items()}
            if len(description) == 2
            else ""
        )
        given = f"{description if not told else description[1]}, {told}, kinds {kinds}, {training=}; make: {way}"
        rule = "every called layer of the kinds is replaced by make(layer), in blocks too; the others stay"
        hint = "a node's target is the path of its layer: get_submodule and set_submodule take it"
        factors = torch.randint(2, 9, (len(paths),), generator=g).tolist()
        got = expect_returns(
            lambda: replaced(description, seed, kinds, training, way, factors, x), rule, given=given, hint=hint
        )
        own = lived_in(traced(network_of(description, seed)), seed).train(training)
        before = state_of(own)
        expect(
            "GraphModule" in got["classes"],
            "the result is a new GraphModule",
            given=given,
            got=got["classes"],
            hint="change a copy, and return it",
        )
        nodes = list(own.graph.nodes)
        layers = {path: own.get_submodule(path) for path in paths}
        wanted = [[type(m).__name__, *[p.detach().clone() for p in m.parameters()]] for m in layers.values()]
        for number, (path, layer) in enumerate(layers.items(), start=1):
            with torch.no_grad():
                for p in layer.parameters() if way == "halved" else ():
                    p.copy_(p.detach() / 2)
            if way == "wrapped":
                own.set_submodule(path, Scaled(layer, number))
                own.get_submodule(path).training = number % 2 == 0
        targets = [node.target for node in nodes if node.op == "call_module"]
        states = [state_of(own.get_submodule(target)) for target in targets]
        expect_equal(
            [state["class"] for state in got["layers"]],
            [state["class"] for state in states],
            "a subclass of a kind is of that kind" if told and "(" in "".join(told.values()) else rule,
            given=given,
            hint=f"{hint}; and does your comparison of types take a class, a tuple, and subclasses?",
        )
        rule = "the graph module that comes in is not changed"
        hint = "which of its objects does the copy share, and from which of the two does make get its layers?"
        expect_unchanged(before, got["after"], rule, hint=hint)
        once = "make is called once for each layer that is called, and never for what it returned itself"
        hint = "list the targets, each once, before you replace anything"
        expect_equal([row[0] for row in got["handed"]], [row[0] for row in wanted], once, given=given, hint=hint)
        order = "make is given the layers in the order of the first calls"
        expect_close(got["handed"], wanted, order, within=0, given=given, hint="go over graph_module.graph.nodes")
        for target, state, came in zip(targets, states, got["layers"], strict=True):
            kept = {name: value for name, value in state.items() if not name.endswith(".grad")}
            mine = target in paths
            rule = (
                "what make returns is called as it is, in its own mode"
                if mine
                else "layers of other kinds stay as they are"
            )
            expect_unchanged(
                kept, came, f"{rule}", hint="values, mode, hooks, attributes, frozen or not: who changes them?"
            )
        expect_equal(got["mode"], str(training), "layers of other kinds stay as they are", given=f"{given}: the mode")
        rule = "the nodes stay as they are"
        hint = "only what stands behind the targets is changed"
        expect_equal(got["nodes"], [[node.op, node.name] for node in nodes], rule, given=given, hint=hint)
        for path, factor in zip(paths if way == "wrapped" else (), factors):  # noqa: B905
            own.get_submodule(path).factor = factor
        expect_close(
            got["output"],
            wanted := own.eval()(x).detach(),
            "the new network computes with the new layers",
            within=1e-9 * float(wanted.abs().max()),  # float64, through tens of layers
            given=f"{given}; then what make has returned gets other factors",
            hint="one new layer for each old one, itself and no copy, however often it is called",
        )
        expect_unchanged(
            before,
            got["written"],
            "make is given the layer of the copy, and the copy shares nothing: training it leaves the old one alone",
            hint="all tensors of the new one were set to 3: which of them are the old one's?",
        )

    g = generator()
    x = torch.randn(2, 3, 9, 9, generator=g, dtype=torch.float64)
    convolution = {"in_channels": 3, "out_channels": 3, "kernel_size": 1}
    linear = {"in_features": 9, "out_features": 9}
    known = {"r": ("ReLU", {}), "s": ("ReLU", {}), "n": ("BatchNorm2d", {"num_features": 3})}
    known |= dict.fromkeys("abcd", ("Conv2d", convolution)) | dict.fromkeys("klm", ("Linear", linear))
    known |= {
        "o": ("ConvTranspose2d", convolution),
        "C": ("Conv2d(ConvTranspose2d)", convolution),  # another class of the same name
        "D": ("Mine(Conv2d)", convolution),
        "E": ("Yours(Mine(Linear))", linear),
        "t": ("TransformerEncoderLayer", {"d_model": 9, "nhead": 1, "dim_feedforward": 9, "dropout": 0.0}),
    }

    def look_at(program, kinds, letters, seed=0, **how):
        used = [name for name in known if f"{name}(" in program or f"{name}." in program]
        paths = draw_paths(used, g)
        layers = {name: (paths[name], *known[name]) for name in used}
        for name in used:
            kinds = f"={paths[name]}" if kinds == f"={name}" else kinds
        look((layers, program), kinds, [paths[name] for name in letters], seed, **how)

    look("Tangle", "Conv2d", ["stem.0", "twice", "branch", "last"])
    look("Crossed", ["Conv2d", "Linear"], ["deep.0.0.1", "between", "deep.0.0.0"], training=False)
    cases = [
        ("k(r(a(x)))", "Conv2d", "a"),
        ("a(b(a(c(x))).abs()) + k(x)", "Conv2d", "cab"),
        ("k(a(x))", ["Linear"], "k"),
        ("k(a(x))", [], ""),
        ("r(n(o(D(E(C(x))))))", "Conv2d", "D"),
        ("o(D(E(C(l(x)))))", "modules.conv._ConvNd", "CDo"),
        ("a(D(b(x)))", "=D", "D"),
        ("E(k(n(x)))", ["Linear", "BatchNorm2d"], "nkE"),
        ("s(r(a(x)) - r(x))", "ReLU", "rs"),
        ("(a(x), k(x), b(input=x))[2]", ["Conv2d", "Linear"], "akb"),
        ("a(x) * b.weight.mean()", "Conv2d", "a"),
        ("t(k(x).flatten(0, 1))", "Linear", "k"),
        ("r(n(k(x)))", "Module", "knr"),
    ]
    for number, case in enumerate(cases):
        look_at(*case, training=number % 2 == 0)
    look_at("a(b(a(D(n(x)))))", "Conv2d", "Dab", way="halved")
    many = {f"z{i}": (path, "ReLU", {}) for i, path in enumerate(draw_paths([str(i) for i in range(20)], g).values())}
    chain = "".join(f"{name}(" for name in many) + "x" + ")" * len(many)
    look((many, chain), "ReLU", [path for path, _, _ in many.values()][::-1])
    ### BEGIN HIDDEN TESTS
    for program, kinds, letters in [
        ("b(c(b(k(d(x)))))", "Conv2d", "dbc"),
        ("C(a(o(D(E(m(x))))))", ["modules.conv._ConvNd", "Linear"], "mEDoaC"),
        ("n(D(r(n(x))))", "modules.batchnorm._NormBase", "n"),
        ("k(D(E(l(x))))", "=E", "E"),
        ("(d(x), s(r(x)))[1] + d.weight.sum() * 0", "ReLU", "rs"),
        ("t(m(l(x)).flatten(0, 1)) * k.bias.sum()", ["Linear", "Conv2d"], "lm"),
    ]:
        look_at(
            program, kinds, letters, seed := 1 + int(torch.randint(10**6, (1,), generator=g)), training=seed % 2 == 0
        )
    look_at("c(n(d(c(x))))", ["Conv2d", "Tanh"], "cd", seed, way="halved", training=False)
    look("Tangle", "BatchNorm2d", ["stem.1", "twice_norm", "branch_norm", "alone", "last_norm"], seed)
    ### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 3: fold batch normalization into a convolution
#
# Batch normalization shifts and scales each channel. In training it uses the mean and variance of the current batch;
# afterwards the running averages $\mu, \sigma^2$ that it collected. With its weight $\gamma$ and bias $\beta$, for
# each channel,
#
# $$
# y = \gamma \, \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta .
# $$
#
# A convolution with weight $w$ and bias $b$ stands right before it: $x = w * z + b$. Insert that and sort:
#
# $$
# y = \underbrace{\frac{\gamma\, w}{\sqrt{\sigma^2 + \epsilon}}}_{w_{\text{new}}} * z \;+\;
#     \underbrace{\gamma\,\frac{b - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta}_{b_{\text{new}}} .
# $$
#
# So the two layers *are* one convolution. After training one throws the batch norm away: less to compute, and, more
# important here, one rounding less.
#
# By hand, one channel: $w = 2$, $b = 1$, $\mu = 5$, $\sigma^2 + \epsilon = 4$, $\gamma = 3$, $\beta = 0.5$. Then
# $w_{\text{new}} = 3 \cdot 2 / 2 = 3$ and $b_{\text{new}} = 3 \cdot (1 - 5)/2 + 0.5 = -5.5$. Try $z = 10$: the
# convolution gives 21, the norm $3 \cdot 16 / 2 + 0.5 = 24.5$; and $3 \cdot 10 - 5.5 = 24.5$.
#
# Two things may be missing: a convolution with `bias=False` has `conv.bias is None` (take 0), and a norm
# with `affine=False` has `bn.weight is None` and `bn.bias is None` (take 1 and 0). A weight of a convolution has the
# shape (output channels, input channels / groups, height, width), and the norm belongs to the *output* channels.
#
# <details><summary>For the curious: slips in the source</summary>
#
# The report (section 3.3) prints
#
# $$
# w_{new} = w_{conv} \frac{w}{\sqrt{\operatorname{Var}[x] + \epsilon}} \;(3.12) \qquad
# b_{new} = \frac{b_{conv} - E[x]}{\sqrt{\operatorname{Var}[x] + \epsilon}} + b \;(3.13)
# $$
#
# where $w, b$ are the batch norm's $\gamma, \beta$. Equation 3.13 lacks the factor $\gamma$: the mean is subtracted
# *before* the multiplication by $\gamma$, so it must be multiplied, too. The report's own program has the factor.
# (Its equation 3.9 leaves out $\gamma$ and $\beta$ altogether although the text explains them, its 3.11 writes
# $\operatorname{Var}[x]^2$ for the variance, and its program calls the weight `beta` and the bias `gamma`. The
# program also forgets `dilation` and `groups`, which a MobileNet needs.) With the example
# by hand, equation 3.13 as printed would give $b_{new} = -1.5$ and 28.5.
#
# </details>


# %% nbgrader={"grade_id": "fuse_conv_bn", "solution": true}
def fuse_conv_bn(conv, bn):
    """One convolution that computes what a convolution and the batch norm after it compute in eval mode.

    Args:
        conv: nn.Conv2d with any stride, padding, dilation and groups, with or without bias. It is not changed.
        bn: nn.BatchNorm2d in eval mode with running statistics, affine or not. It is not changed.

    Returns:
        A new nn.Conv2d in eval mode, with bias, of conv's dtype (also where bn has another one; the narrower of the
        two is precise enough) and settings. It shares no tensor with conv and bn.

    Raises:
        ValueError: if bn is in training mode (then it normalizes by the batch, which no convolution can), has no
            running statistics (track_running_stats=False), or another number of channels than conv has outputs.
    """
    ### BEGIN SOLUTION
    if bn.training or bn.running_mean is None:
        raise ValueError("only a batch norm in eval mode, with running statistics, is a fixed linear map")
    if bn.num_features != conv.out_channels:
        raise ValueError(f"{conv.out_channels} output channels, but a norm of {bn.num_features}")
    with torch.no_grad():
        gamma = torch.ones_like(bn.running_mean) if bn.weight is None else bn.weight
        beta = torch.zeros_like(bn.running_mean) if bn.bias is None else bn.bias
        bias = torch.zeros_like(bn.running_mean) if conv.bias is None else conv.bias
        factor = gamma / torch.sqrt(bn.running_var + bn.eps)
        fused = copy.deepcopy(conv).eval()
        fused.weight = nn.Parameter((conv.weight * factor.view(-1, 1, 1, 1)).to(conv.weight.dtype))
        fused.bias = nn.Parameter(((bias - bn.running_mean) * factor + beta).to(conv.weight.dtype))
    return fused
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_fuse_conv_bn", "grade": true, "points": 4}
with check("fuse_conv_bn"):

    @probe
    def fused(settings, numbers, eps, dtypes, training, seed, x, default):
        """What came of it, and what is left of the two layers when all numbers of the new one are overwritten."""
        conv, bn = norm_behind(settings, numbers, eps, dtypes, training, seed)
        torch.set_default_dtype(getattr(torch, default))
        try:
            new = fuse_conv_bn(conv, bn)
        finally:
            torch.set_default_dtype(torch.float32)
        after = state_of(conv, bn)
        names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
        told = {
            "classes": [c.__module__ + "." + c.__name__ for c in type(new).__mro__],
            "settings": [str(getattr(new, name)) for name in (*names, "padding_mode")],
            "numbers": {name: p.detach().clone() for name, p in new.named_parameters()},
            "mode": state_of(new)["training"],
            "output": new(x.to(new.weight.dtype)).detach(),
            "after": after,
        }
        with torch.no_grad():
            for p in new.parameters():
                p.fill_(7)
        return told | {"written": state_of(conv, bn)}

    def look(settings, numbers, x, eps, dtypes=("float64", "float64"), default="float32"):
        given = f"Conv2d({settings}), BatchNorm2d(eps={eps}, affine={'gamma' in numbers}), {', '.join(dtypes)}"
        rule = "a missing bias counts as 0; without affine gamma is 1 and beta is 0"
        hint = "conv.bias, bn.weight and bn.bias may be None: compare with None"
        seed = int(torch.randint(10**6, (1,), generator=g))
        how = settings, numbers, eps, dtypes, seed % 2 == 0, seed
        new = expect_returns(lambda: fused(*how, x, default), rule, given=given, hint=hint)
        conv, bn = norm_behind(*how)
        a_new = "the result is a new nn.Conv2d with a bias"
        expect("torch.nn.modules.conv.Conv2d" in new["classes"], a_new, given=given, got=new["classes"][0])
        names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
        expect_equal(
            new["settings"],
            [str(getattr(conv, name)) for name in (*names, "padding_mode")],
            "stride, padding, dilation, groups and padding_mode are conv's",
            given=given,
            hint="how does the new layer get to know all of them?",
        )
        of_dtype = "the new layer has a weight and a bias, both of conv's dtype"
        hint = "print the dtypes on the way: which number was made without saying one?"
        expect_equal(sorted(new["numbers"]), ["bias", "weight"], of_dtype, given=given)
        told = f"{given}; torch's default dtype is {default}"
        for got in new["numbers"].values():
            expect_type(got, getattr(torch, dtypes[0]), of_dtype, given=told, hint=hint)
        expect_unchanged(
            state_of(conv, bn), new["after"], "conv and bn are not changed, and share no tensor with the result"
        )
        # The same in float64, from the numbers as the layers hold them. A result may be rounded at each step to the
        # narrower dtype, and shifts may be scaled one by one
        held = {"b": conv.bias, "mean": bn.running_mean, "var": bn.running_var, "gamma": bn.weight, "beta": bn.bias}
        held = {name: None if t is None else t.detach().double() for name, t in held.items()}
        zeros = torch.zeros_like(held["var"])
        factor = (1 if held["gamma"] is None else held["gamma"]) / (held["var"] + bn.eps).sqrt()
        beta, b = (zeros if held[name] is None else held[name] for name in ("beta", "b"))
        last = 16 * max(torch.finfo(getattr(torch, dtype)).eps for dtype in dtypes)
        missing = "bias" not in numbers or "gamma" not in numbers
        expect_close(
            new["numbers"]["bias"].double(),
            (b - held["mean"]) * factor + beta,
            rule if missing else "the new bias is gamma * (b - mean) / sqrt(var + eps) + beta",
            within=last * ((b * factor).abs() + (held["mean"] * factor).abs() + beta.abs()) * (1 + held["mean"].abs()),
            given=given,
            hint="work one channel out by hand: what is scaled by gamma, and what is not?",
        )
        weight = conv.weight.detach().double()
        size = factor.abs() * (1 + held["mean"].abs()) + beta.abs()
        expect_close(
            new["numbers"]["weight"].double(),
            weight * factor.view(-1, 1, 1, 1),
            "every output channel's weights get that channel's factor",
            within=last * weight.abs() * size.view(-1, 1, 1, 1),
            given=given,
            hint="along which axis of the weight do the output channels lie, and what stands under the root?",
        )
        new_weight, new_bias = new["numbers"]["weight"], new["numbers"]["bias"]
        with torch.no_grad():
            conv.weight.copy_(new_weight)
            conv.bias = nn.Parameter(new_bias)
        expect_close(
            new["output"].double(),
            conv(x.to(conv.weight.dtype)).detach().double(),
            "the new layer computes with its weight, its bias and conv's settings",
            within=1e-9 if dtypes[0] == "float64" else new["output"].double().abs() / 50,  # sums of up to 40 products
            given=given,
        )
        expect_unchanged(
            state_of(*norm_behind(*how)),
            new["written"],
            "conv and bn are not changed, and share no tensor with the result",
            hint="the new layer's numbers were overwritten: which tensor did you hand on as it is?",
        )
        expect_equal(
            new["mode"], "False", "the new layer is in eval mode", given=given, hint="what mode is a new layer in?"
        )

    g = generator()
    one = {"weight": 2.0, "bias": 1.0, "mean": 5.0, "var": 3.0, "gamma": 3.0, "beta": 0.5}
    one = {name: torch.full((1, 1, 1, 1) if name == "weight" else (1,), value) for name, value in one.items()}
    facts = "w = 2, b = 1, mean = 5, var = 3, eps = 1, gamma = 3, beta = 0.5"
    settings = {"in_channels": 1, "out_channels": 1, "kernel_size": 1}
    doubles = ("float64", "float64")
    got = expect_returns(
        lambda: fused(settings, one, 1.0, doubles, False, 0, torch.ones(1, 1, 1, 1), "float32")["numbers"],
        "the result is a new nn.Conv2d with a bias",
        given=facts,
        hint="a new layer with the settings of conv, or a copy of it, and other parameters",
    )
    expect_equal(sorted(got), ["bias", "weight"], "the result is a new nn.Conv2d with a bias", given=facts)
    expect_close(
        got["weight"].flatten(),
        [3.0],
        "the new weight is gamma * w / sqrt(var + eps)",
        within=1e-12,  # float64, four operations
        given=facts,
        hint="what belongs under the root, and which eps is it?",
    )
    expect_close(
        got["bias"],
        [-5.5],
        "the new bias is gamma * (b - mean) / sqrt(var + eps) + beta",
        within=1e-12,
        given=facts,
        hint="b - mean is multiplied by gamma as well (equation 3.13 as printed forgets it)",
    )

    def drawn(settings, bias, affine, g):
        size = nn.Conv2d(**settings).weight.shape
        numbers = {"weight": torch.randn(size, generator=g, dtype=torch.float64)}
        for name in ["mean", *(["bias"] if bias else []), *(["gamma", "beta"] if affine else [])]:
            numbers[name] = torch.randn(size[0], generator=g, dtype=torch.float64)
        return numbers | {"var": 0.01 + torch.rand(size[0], generator=g, dtype=torch.float64)}

    for number, extra in enumerate(
        [
            {"kernel_size": 3, "padding": 1},
            {"kernel_size": (1, 3), "dilation": (3, 2), "padding": (0, 2)},
            {"kernel_size": 3, "groups": 2, "stride": (2, 1)},
            {"kernel_size": 3, "groups": 4, "padding": 1, "padding_mode": "reflect"},
            {"kernel_size": (2, 4), "padding": "same"},
            {"kernel_size": (3, 2), "padding": "valid", "stride": (1, 3), "dilation": (1, 2)},
            {"kernel_size": (2, 3), "padding": (1, 2), "padding_mode": "circular", "in_channels": 4, "out_channels": 4},
        ]
    ):
        bias, affine = number % 3 != 1, number % 3 != 2
        settings = {"in_channels": 4, "out_channels": 8, "bias": bias, **extra}
        x = torch.randn(2, 4, 9, 9, generator=g, dtype=torch.float64)
        look(settings, drawn(settings, bias, affine, g), x, (0.001, 0.3)[number % 2])

    @probe
    def fuse_of(training, statistics, channels, inputs=2, affine=True):
        bn = nn.BatchNorm2d(channels, affine=affine, track_running_stats=statistics)
        return type(fuse_conv_bn(nn.Conv2d(inputs, 3, 1).train(), bn.train(training))).__name__

    expect_domain(
        lambda case: fuse_of(*case),
        "what cannot be folded is refused with a ValueError",
        inside=[(False, True, 3), (False, True, 3, 1), (False, True, 3, 3, False)],
        outside=[
            *((True, True, 3), (True, False, 3), (False, False, 3), (True, True, 3, 2, False)),
            *((False, True, n) for n in (1, 2, 4, 6)),
            *((False, False, 3, 3, False), (False, True, 1, 2, False), (False, True, 1, 1), (True, True, 4)),
        ],
        hint="(bn.training, has running statistics, its channels, conv's inputs, affine); conv has 3 outputs",
    )
    # numbers in places where a slip shows: what changes nothing; 0; tiny and huge; a difference of large numbers
    ones, zeros, x = torch.ones(3).double(), torch.zeros(3).double(), torch.ones(1, 2, 2, 2).double()
    nothing = {"mean": zeros, "var": ones, "gamma": ones, "beta": zeros}
    large = 2.0**24 + torch.tensor([0.0, 2.0, 8.0]).double()
    settings = {"in_channels": 2, "out_channels": 3, "kernel_size": 1, "bias": True}
    for special, eps, *dtypes in (
        (nothing, 0.0),
        ({"gamma": ones * 0, "mean": large}, 1e-5),
        ({"gamma": -ones, "beta": ones * 1e-30, "bias": ones * 0}, 1e-5),
        ({"var": ones * 1e-30}, 1e-20),
        ({"var": ones * 0}, 1e-12, "float32", "float32"),
        ({"var": ones * 1e30, "gamma": ones * 1e20}, 1e-5, "float32", "float64"),
        ({"mean": ones * 300.3, "bias": ones * 300}, 1e-3),
        ({}, 1e-3, "float64", "float32"),
        ({"mean": ones * 300, "bias": ones * 200}, 1e-3, "float16", "float32"),
        ({"mean": ones * 3.1, "bias": ones * 3}, 1e-3, "bfloat16", "float64"),
    ):
        look(settings, drawn(settings, True, True, g) | special, x, eps, tuple(dtypes) or doubles, "float64")
    settings["bias"] = False
    look(settings, drawn(settings, False, True, g) | nothing, x, 0.0, doubles, "float64")
    look(settings, drawn(settings, False, False, g), x, 0.1, ("float32", "float32"), "float64")
    look(settings, drawn(settings, False, False, g), x, 0.1, ("float64", "float32"), "float16")

    ### BEGIN HIDDEN TESTS
    for number, extra in enumerate(
        [
            {"kernel_size": 3, "padding": "same", "dilation": (2, 1)},
            {"kernel_size": (3, 1), "stride": (1, 2), "padding": 2, "padding_mode": "circular"},
            {"kernel_size": 2, "groups": 4, "padding": (0, 1), "padding_mode": "replicate", "dilation": (1, 3)},
        ]
    ):
        for bias in (True, False):
            affine = bias == (number % 2 == 0)
            settings = {"in_channels": 4, "out_channels": 8, "bias": bias, **extra}
            x = torch.randn(2, 4, 9, 9, generator=g, dtype=torch.float64)
            look(settings, drawn(settings, bias, affine, g), x, (0.002, 0.2, 1.0)[number])
    settings, x = {"in_channels": 2, "out_channels": 3, "kernel_size": 2, "bias": True}, torch.ones(1, 2, 3, 3)
    for special, eps, *dtypes in (
        ({"var": ones * 3e-24, "gamma": ones * 1e-8}, 1e-30),
        ({"mean": ones * -70.7, "bias": ones * -70}, 0.5),
        ({}, 0.5, "float64", "float32"),
        ({"gamma": torch.tensor([0.0, -2.0, 1.0]), "var": ones}, 0.0, "float16", "float64"),
    ):
        look(settings, drawn(settings, True, True, g) | special, x, eps, tuple(dtypes) or doubles, "float64")
    ### END HIDDEN TESTS

# %% [markdown]
# ## Exercise 4: fold all of a network
#
# Now the graph. Find every batch norm whose input is a convolution's result, put the fused convolution in the
# convolution's place, and take the norm's node out: its users now use the convolution's node.
#
# ```
# before   x -> conv -> norm -> relu        after   x -> conv' -> relu
# ```
#
# But look before you fold:
#
# - If the convolution's *result* is used by anything else than the norm, the other users need it unscaled:
#   `len(conv_node.users)` must be 1.
# - If the convolution *layer* is called in more than one place, changing its weights changes all of them: its
#   target may occur only once in the graph. The same if its weight or bias is read, by a `get_attr` node with a target
#   such as `"conv.weight"`.
# - A norm that does not stand right after a convolution stays.
#
# What you need of a graph: `node.args[0]` is the node that makes a layer's input.
# `norm_node.replace_all_uses_with(conv_node)` redirects the users. `graph.erase_node(norm_node)` removes a node that
# has no users left. Take a `list(graph.nodes)` to go over while you remove. At the end
# `delete_all_unused_submodules()` drops the layers that no node calls any more, `graph.lint()` proves the graph
# sound, and `recompile()` generates its program.


# %% nbgrader={"grade_id": "fold_batch_norms", "solution": true}
def fold_batch_norms(graph_module, fuse):
    """A copy of a traced network without those batch norms that a convolution can absorb.

    A norm, an nn.BatchNorm2d, is absorbed if its input is the result of an nn.Conv2d that nothing else uses (the
    network's output counts as a use), of a layer that the graph calls only once and of which it reads no weight or bias
    elsewhere. All others stay; but where fuse returns an nn.Conv2d, a norm right behind an absorbed one may go as well.
    Derived classes count, of both kinds.

    Args:
        graph_module: torch.fx.GraphModule in eval mode, as symbolic_trace returns it: each layer has one target in it,
            and each node's result is used. Its norms are called with their input as in norm(x). It is not changed, nor
            are its layers.
        fuse: function that takes an nn.Conv2d and an nn.BatchNorm2d and returns the layer that replaces both, as it is.

    Returns:
        A new torch.fx.GraphModule: fused layers under the convolutions' names; the absorbed norms' nodes are gone,
        and so are layers that no node calls or reads any more.
    """
    ### BEGIN SOLUTION
    folded = copy.deepcopy(graph_module)
    calls = Counter(node.target for node in folded.graph.nodes if node.op == "call_module")
    read = {node.target.rpartition(".")[0] for node in folded.graph.nodes if node.op == "get_attr"}

    def layer_of(node):
        return folded.get_submodule(node.target) if node.op == "call_module" else None

    for norm in list(folded.graph.nodes):
        if not isinstance(layer_of(norm), nn.BatchNorm2d):
            continue
        (conv,) = norm.all_input_nodes  # as args[0], or by its name
        if not isinstance(layer_of(conv), nn.Conv2d) or len(conv.users) > 1:
            continue
        if calls[conv.target] > 1 or conv.target in read:
            continue
        folded.set_submodule(conv.target, fuse(layer_of(conv), layer_of(norm)))
        norm.replace_all_uses_with(conv)
        folded.graph.erase_node(norm)
    folded.delete_all_unused_submodules()
    folded.graph.lint()
    folded.recompile()
    return folded
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_fold_batch_norms", "grade": true, "points": 4}
with check("fold_batch_norms"):

    @probe
    def folded(description, seed, x):
        """What came of it, with a fuse that hands back both layers in one, and ruins what it was handed."""

        class Both(nn.Module):
            """Stands for the fused layer: simply both, one after the other."""

            def forward(self, x):
                return self.both[1](self.both[0](x))

        def fuse(conv, bn):
            pairs.append([[str(c) for c in type(layer).__mro__] for layer in (conv, bn)])
            made.append(Both().train(bool(conv.weight.sum() > 0)))  # some in this mode, some in that
            made[-1].both = [copy.deepcopy(conv), copy.deepcopy(bn)]  # in a list: no layers of the network
            with torch.no_grad():
                for p in conv.parameters():
                    p.zero_()
            return made[-1]

        def data(output):
            tensors = torch.utils._pytree.tree_flatten(output)[0]
            return [t.detach() for t in tensors]

        graph, pairs, made = lived_in(traced(network_of(description, seed)), seed), [], []
        new = fold_batch_norms(graph, fuse)
        after = state_of(graph)
        nodes = list(new.graph.nodes)
        layers = [new.get_submodule(node.target) for node in nodes if node.op == "call_module"]
        states = [{"class": "Both", "mode": str(m.training)} if hasattr(m, "both") else state_of(m) for m in layers]
        output = data(new(x)) if all("BatchNorm2d'" in "".join(pair[1]) for pair in pairs) else []
        with torch.no_grad():
            for t in (*new.parameters(), *new.buffers()):
                t.fill_(3)
        return {
            "classes": [c.__name__ for c in type(new).__mro__],
            "pairs": pairs,
            "nodes": [
                [node.op, node.target if isinstance(node.target, str) else node.target.__name__] for node in nodes
            ],
            "states": [{k: v for k, v in state.items() if not k.endswith(".grad")} for state in states],
            "norms": sorted(path for path, m in new.named_modules() if hasattr(m, "num_features")),
            "output": output,
            "after": after,
            "written": state_of(graph),
        }

    def look(description, convs, absorbed, rule, hint, seed=0):
        """convs: paths of the convolutions that are folded, in the order of their calls; absorbed: the norms' nodes."""
        told = {} if isinstance(description, str) else {n: f"{path}: {k}" for n, (path, k, _) in description[0].items()}
        given = f"{description[1]}, {told}" if told else description
        got = expect_returns(lambda: folded(description, seed, x), rule, given=given, hint=hint)
        own = lived_in(traced(network_of(description, seed)), seed)
        original = state_of(own)
        a_new = "the result is a new GraphModule"
        expect(
            "GraphModule" in got["classes"], a_new, given=given, got=got["classes"], hint="change a copy, and return it"
        )
        for pair in got["pairs"]:
            expect(
                "torch.nn.modules.conv.Conv2d" in "".join(pair[0]) and "batchnorm.BatchNorm2d" in "".join(pair[1]),
                "fuse is called with the convolution and its norm",
                given=given,
                got=[classes[0] for classes in pair],
                hint="which of the two comes first, and of which class is each?",
            )
        nodes = [node for node in own.graph.nodes if node.op == "call_module"]
        by_path = lambda pair: pair[0]  # noqa: E731  a node may stand anywhere between those it takes from and its users
        left = [n for _, n in sorted(((n.target, n) for n in nodes if n not in absorbed(nodes)), key=by_path)]
        called = [target for op, target in got["nodes"] if op == "call_module"]
        called = sorted(zip(called, got["states"], strict=True), key=by_path)
        places = [target for target, state in called if state["class"] == "Both"]
        expect(places == sorted(convs), rule, given=given, expected=convs, got=places, hint=hint)
        expect_equal(
            [state["class"] for _, state in called],
            ["Both" if n.target in convs else type(own.get_submodule(n.target)).__name__ for n in left],
            "the absorbed norms' nodes are gone",
            given=f"{given}: the classes of all called layers, by their paths",
            hint="what becomes of the norm's node?",
        )
        name = lambda t: t if isinstance(t, str) else t.__name__  # noqa: E731
        kept = [[n.op, name(n.target)] for n in own.graph.nodes if n not in absorbed(nodes)]
        stay, hint = "all other nodes stay", "which nodes do you take out?"
        expect_equal(sorted(got["nodes"]), sorted(kept), stay, given=given, hint=hint)
        for node, (_, state) in zip(left, called, strict=True):
            before = {k: v for k, v in state_of(own.get_submodule(node.target)).items() if not k.endswith(".grad")}
            if node.target in convs:
                before = {"class": "Both", "mode": str(bool(own.get_submodule(node.target).weight.sum() > 0))}
            expect_unchanged(before, state, "a norm that is not folded stays, and so do other layers, as they are")
        # of a norm that is read, but not called, the numbers must stay, the layer need not
        read = {node.target.rpartition(".")[0] for node in own.graph.nodes if node.op == "get_attr"}
        norms = {node.target for node in left if hasattr(own.get_submodule(node.target), "num_features")}
        expect_equal(
            sorted(set(got["norms"]) - (read - norms)),
            sorted(norms),
            "the absorbed norms are no longer layers of the network, and the others stay",
            given=given,
            hint="which layers does no node call or read any more, and who takes them away?",
        )
        exact = [t.detach() for t in torch.utils._pytree.tree_flatten(own(x))[0]]
        expect_close(
            got["output"],
            exact,
            "the folded network computes what the network computed",
            within=1e-9 * max(float(t.abs().max()) for t in exact),  # float64, through tens of layers
            given=given,
            hint="where do the norm's users get their input now, and does the program know?",
        )
        rule = (
            "the graph module that comes in is not changed, nor are its layers, whatever fuse does with its arguments"
        )
        for state in (got["after"], got["written"]):
            expect_unchanged(original, state, rule, hint="from which graph module do fuse's arguments come?")

    g = generator()
    x = torch.randn(3, 3, 9, 9, generator=g, dtype=torch.float64)
    one = {"in_channels": 3, "out_channels": 3, "kernel_size": 1}
    known = dict.fromkeys(("conv", "other", "third"), ("Conv2d", one)) | {
        "norm": ("BatchNorm2d", {"num_features": 3}),
        "norm2": ("BatchNorm2d", {"num_features": 3, "affine": False}),
        "instance": ("InstanceNorm2d", {"num_features": 3, "affine": True, "track_running_stats": True}),
        "no_norm": ("BatchNorm2d(InstanceNorm2d)", {"num_features": 3, "track_running_stats": True}),
        "my_norm": ("Mine(BatchNorm2d)", {"num_features": 3}),
        "up": ("ConvTranspose2d", one),
        "no_conv": ("Conv2d(ConvTranspose2d)", one),
        "my_conv": ("Yours(Mine(Conv2d))", one | {"groups": 3}),
        "linear": ("Linear", {"in_features": 9, "out_features": 9}),
        "relu": ("ReLU", {}),
    }

    def look_at(program, convs, norms, rule, hint, **places):
        """convs: names of those that are folded, in the order of their calls; norms: of those that they absorb."""
        words = __import__("re").findall(r"\w+", program)
        used = [name for name in known if name in words]
        paths = draw_paths(used, g) | places
        by_path = {path: name for name, path in paths.items()}
        calls = norms.split()

        def absorbed(nodes):
            wanted, found = list(calls), []
            for node in nodes:
                if (
                    by_path[node.target] in wanted
                    and by_path.get(getattr(node.args[0], "target", None)) in convs.split()
                ):
                    wanted.remove(by_path[node.target])
                    found.append(node)
            return found

        layers = {name: (paths[name], *known[name]) for name in used}
        seed = int(torch.randint(10**6, (1,), generator=g))
        look((layers, program), [paths[name] for name in convs.split()], absorbed, rule, hint, seed)

    right_after = "a norm right after a convolution is folded into it"
    every = "every norm that can be folded is folded, in blocks too"
    what_it_is = "look at the node behind the norm's input, and at the class of its layer"
    twice = "a convolution that is called twice is not folded"
    elsewhere = "a convolution whose result is used elsewhere too is not folded"
    stays = "a norm that is not folded stays, and so do other layers, as they are"
    only = "only an nn.Conv2d absorbs a norm, and only an nn.BatchNorm2d is one"
    read = "a convolution whose weight is read elsewhere is not folded"
    both = "a norm that is called twice can be folded into two convolutions"
    cases = [
        ("norm(conv(x))", "conv", "norm", right_after, "find the norm's node, and from it the convolution's"),
        ("norm2(other(norm(conv(x)).relu()))", "conv other", "norm norm2", every, "go through all nodes"),
        ("(lambda y: y + y.tanh())(norm(conv(x)))", "conv", "norm", right_after, "who uses the norm does not matter"),
        ("torch.cat([x, norm(conv(x))])", "conv", "norm", right_after, "its users may have it in a list, too"),
        ("(lambda y, z: norm(y) + z)(conv(x), other(x))", "conv", "norm", right_after, "what is the norm called with?"),
        ("relu(my_norm(my_conv(norm(other(x)))))", "other my_conv", "norm my_norm", every, "of derived classes, too"),
        ("norm(conv(x).relu()) - norm2(x)", "", "", stays, what_it_is),
        ("norm2(norm(conv(x)))", "conv", "norm", stays, "the second norm's input is a norm"),
        ("norm(up(x)) + norm2(linear(x))", "", "", only, what_it_is),
        ("instance(conv(x)) + norm(other(x))", "other", "norm", only, what_it_is),
        ("norm(no_conv(x)) + no_norm(conv(x))", "", "", only, "the class itself, not what it is called"),
        ("norm(conv(conv(x)))", "", "", twice, "count the calls of a layer in the whole graph"),
        ("norm(conv(x)) + conv(other(x)).tanh()", "", "", twice, "count the calls in the whole graph"),
        ("(lambda y: norm(y) + y)(conv(x))", "", "", elsewhere, "how many users has the convolution's node?"),
        ("(lambda y: {'a': norm(y), 'b': [y]})(conv(x))", "", "", elsewhere, "the output is a user, too"),
        ("(lambda y: relu(input=y) - norm(y))(conv(x))", "", "", elsewhere, "who gets it by a keyword is a user, too"),
        ("(lambda y: torch.cat([x, y]) - norm(y)[0])(conv(x))", "", "", elsewhere, "in a list, too"),
        ("norm(conv(x)) * conv.weight[0]", "", "", read, "a get_attr node's target begins with the path and a dot"),
        ("norm(conv(x)) * other.weight.mean() + other(x)", "conv", "norm", read, "whose own weight, not another's"),
        ("norm(other(norm(conv(x)).abs()))", "conv other", "norm norm", both, "erase nodes; layers go at the end"),
        ("norm(other(norm(x)))", "other", "norm", both, "the norm's other call stays"),
        ("norm(conv(x)) * norm.weight.mean()", "conv", "norm", right_after, "what is read may stay as a layer"),
    ]  # fmt: skip
    for case in cases:
        look_at(*case)
    names = "what calls a layer is a call_module node: methods and arguments may have a layer's name"
    of_names = "norm(x) + norm2(x.abs()) - conv(x) * other(x)", "", "", names, "ask for node.op"
    look_at(*of_names, conv="x", other="abs")
    counted = "norm(conv(x)) + norm2(other(x.abs()))", "conv other", "norm norm2", names, "count what calls layers only"
    look_at(*counted, conv="x", other="abs")
    similar = "only who reads its own weight or bias keeps a convolution"
    hint = "other is m.conv2, third is m.con, conv is m.conv: compare whole paths, up to the last dot"
    places = {"conv": "m.conv", "other": "m.conv2", "third": "m.con"}
    look_at("norm(conv(x)) * other.weight.mean() - third.bias.mean()", "conv", "norm", similar, hint, **places)
    hint = "nor one whose bias is, in a block, too"
    look_at("norm(conv(x)) * conv.bias.mean() - other(x)", "", "", read, hint, conv="m.k.c", other="m.k.d")
    look(
        "Tangle",
        ["stem.0", "last"],
        lambda nodes: [node for node in nodes if node.target in ("stem.1", "last_norm")],
        right_after,
        "stem.0 and stem.1; last and last_norm",
    )
    chain = "x"
    for i in range(12):
        known |= {f"c{i}": ("Conv2d", one), f"n{i}": ("BatchNorm2d", {"num_features": 3})}
        chain = f"n{i}(c{i}({chain}))"
    counted = [" ".join(f"{letter}{i}" for i in range(12)) for letter in "cn"]
    look_at(chain, *counted, every, "however many there are")
    ### BEGIN HIDDEN TESTS
    for case in [
        ("norm(third(x)) + norm2(other(conv(x)))", "third other", "norm norm2", right_after, what_it_is),
        ("(lambda y: norm(y) - norm2(y))(third(x))", "", "", elsewhere, "two norms are two users"),
        ("(lambda y: norm(y) + torch.add(x, other=y))(my_conv(x))", "", "", elsewhere, "by a keyword, too"),
        ("(lambda y: [norm(y), (x, y)])(third(x))", "", "", elsewhere, "the output is a user, too"),
        ("third(norm(third(x)).abs())", "", "", twice, "count the calls in the whole graph"),
        ("norm(other(x)) + third(x) * other.bias.view(1, 3, 1, 1)", "", "", read, "its bias as well"),
        ("my_norm(no_conv(x)) + norm(my_conv(x))", "my_conv", "norm", only, "the class itself"),
        ("norm2(my_norm(my_conv(x)))", "my_conv", "my_norm", stays, "the second norm's input is a norm"),
    ]:  # fmt: skip
        look_at(*case)
    look_at("norm(x.relu()) - third(x)", "", "", names, "ask for node.op", third="relu")
    ### END HIDDEN TESTS

# %% [markdown]
# ## Explore: folding MobileNetV2
#
# MobileNetV2 has a batch norm after each of its 52 convolutions. Its shape comes from torchvision; the weights and
# statistics are random. That is enough to see three things: the graph becomes shorter,
# the function stays the same up to float rounding, and the weights of the channels drift apart, because each channel
# gets a factor of its own. Look at the bars of the right picture: this is why folded convolutions are quantized *per
# channel*.

# %% tags=["explore"]
import time

import torchvision

torch.manual_seed(0)
mobile = filled(torchvision.models.mobilenet_v2(weights=None), 1).float()
graph = symbolic_trace(mobile)
folded_graph = fold_batch_norms(graph, fuse_conv_bn)
kinds = [Counter(what for _, what in operations(g)) for g in (graph, folded_graph)]
print(f"{'':14s} {'before':>8s} {'after':>8s}")
for what in ("Conv2d", "BatchNorm2d", "ReLU6"):
    print(f"{what:14s} {kinds[0][what]:8d} {kinds[1][what]:8d}")
print(f"{'nodes':14s} {len(graph.graph.nodes):8d} {len(folded_graph.graph.nodes):8d}")

x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
with torch.no_grad():
    y, z = graph(x), folded_graph(x)
print(f"largest difference of an output: {float((y - z).abs().max()):.2e}, largest output: {float(y.abs().max()):.2e}")

figure, axes = plt.subplots(1, 2, figsize=(10, 3.6))
for ax, g, title in zip(axes, (graph, folded_graph), ("before folding", "after folding"), strict=True):
    channel_ranges(ax, g.get_submodule("features.0.0").weight)
    ax.set_title(f"first convolution, {title}")
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
plt.show()

# %% [markdown]
# ## Exercise 5: the real thing
#
# Torch's **fx graph mode** quantizes a network in three steps:
#
# 1. `prepare_fx(model, qconfig_mapping, example_inputs)` traces the network and puts **observers** into the graph:
#    layers that let everything through and remember which values passed.
# 2. **Calibration**: run some batches of typical data through the *prepared* network.
# 3. `convert_fx(prepared)` replaces observers by quantization steps, and each layer (with the ReLU after it) by one
#    that computes with 8-bit integers.
#
# The `qconfig_mapping` says which observer and which grid goes where. `get_default_qconfig_mapping(ENGINE)` is
# torch's own choice for the library that computes on this machine (`ENGINE`: `"x86"` on Intel and AMD, `"qnnpack"` on
# ARM). `example_inputs` is a *tuple* of arguments of `forward`; one batch will do.
#
# Calibration needs no gradients (`torch.no_grad()`), and `prepare_fx` wants a network in eval mode. Give it a
# `copy.deepcopy`: the prepared network takes layers of the one that you hand over, and writes notes into them.

# %%
from torch.ao.quantization import get_default_qconfig_mapping
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

from course_utils.quantization.real_quantization import default_engine

ENGINE = default_engine()
torch.backends.quantized.engine = ENGINE


def grids_of(network):
    """Of a quantized network, for the checks: what is called; scales; zero points; kinds of weights; weights."""
    called, layers, state = [], dict(network.named_modules()), network.state_dict()
    for node in network.graph.nodes:
        what = type(layers[node.target]) if node.op == "call_module" else node.target
        called.append(what if isinstance(what, str) else f"{what.__module__}.{what.__name__}")
    weights = {path: m.weight() for path, m in layers.items() if callable(getattr(m, "weight", None))}
    kinds = {path: re.sub("_(affine|symmetric)", "", f"{w.dtype}, {w.qscheme()}") for path, w in weights.items()}
    scales = {name: float(value) for name, value in state.items() if re.search(r"scale(_\d+)?$", name)}
    points = {name: int(value) for name, value in state.items() if re.search(r"zero_point(_\d+)?$", name)}
    return called, scales, points, kinds, {path: w.dequantize() for path, w in weights.items()}


# %% nbgrader={"grade_id": "quantize_with_fx", "solution": true}
def quantize_with_fx(model, batches):
    """Post-training static quantization by torch's fx graph mode, with the default grids for ENGINE.

    Args:
        model: nn.Module that can be traced, in eval mode. It is not changed; its layers get no new attributes.
        batches: list of input tensors to calibrate with, at least one, of one size of images; all of them are used.

    Returns:
        The quantized network, a torch.fx.GraphModule. It takes and returns float tensors.

    Raises:
        ValueError: if the model is in training mode, or there is no batch.
    """
    ### BEGIN SOLUTION
    if model.training:
        raise ValueError("the model must be in eval mode")
    if len(batches) == 0:
        raise ValueError("nothing to calibrate with")
    prepared = prepare_fx(copy.deepcopy(model), get_default_qconfig_mapping(ENGINE), (batches[0],))
    with torch.no_grad():
        for batch in batches:
            prepared(batch)
    return convert_fx(prepared)
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_quantize_with_fx", "grade": true, "points": 3}
with check("quantize_with_fx"):
    from course_utils.quantization.real_quantization import quantize

    @probe
    def quantized(description, seed, batches, x):
        """What came of it, when the same model and batches have been quantized with other numbers before."""
        torch.backends.quantized.engine = ENGINE
        model = lived_in(network_of(description, seed).float(), seed)
        if seed % 2:
            with torch.no_grad():
                for t in (*model.parameters(), *batches):
                    t.data.div_(4)
                quantize_with_fx(model, batches)
                for t in (*model.parameters(), *batches):
                    t.data.mul_(4)
        new = quantize_with_fx(model, batches)
        after = state_of(model, batches)
        return [c.__name__ for c in type(new).__mro__], grids_of(new), new(x).detach(), after

    def look(description, seed, batches, given, noisy=False):
        rule = "after convert_fx every convolution and linear layer is a quantized one, and no observer is left"
        hint = "three steps in their order; which of the three networks is the result?"
        x = torch.cat(batches)[-16:]
        classes, came, output, after = expect_returns(
            lambda: quantized(description, seed, batches, x), rule, given=given, hint=hint
        )
        expect("GraphModule" in classes, "the result is a torch.fx.GraphModule", given=given, got=classes)
        model = lived_in(network_of(description, seed).float(), seed)
        unchanged = "the model that comes in is not changed"
        hint_of = "prepare_fx writes into the layers that it is handed, such as qconfig: what should it be handed?"
        expect_unchanged(state_of(model, batches), after, unchanged, hint=hint_of)
        exact_grids = quantize(model, batches[0], batches, engine=ENGINE)
        called, scales, points, kinds, weights = grids_of(exact_grids)
        expect_equal(came[0], called, rule, given=f"{given}: what is called", hint=hint)
        mapping = "the grids are those of get_default_qconfig_mapping(ENGINE)"
        expect_equal(came[3], kinds, mapping, given=f"{given}; {ENGINE}", hint="which mapping is it, for which engine?")
        # Every batch counts, in whatever order and however cut: that moves a histogram's ends by a hundredth or two
        for part, wanted in ((1, scales), (2, points)):
            expect_equal(sorted(came[part]), sorted(wanted), rule, given=f"{given}: scales and zero points", hint=hint)
            for name in wanted:
                expect_close(
                    came[part][name],
                    wanted[name],
                    mapping if noisy else "calibration runs every batch through the prepared network",
                    within=0.05 * wanted[name] if part == 1 else 7,
                    given=f"{given}: {name}",
                    hint="which network has the observers, which batches do they see, and whose observers are they?",
                )
        exactly = "the quantized weights are those of the model, each within half a step"
        expect_close(came[4], weights, exactly, within=0, given=given, hint="no new network, no training")
        with torch.no_grad():
            exact, wanted = model(x), exact_grids(x)
        noise = float((wanted - exact).square().mean())
        expect_close(
            float((output - wanted).square().mean()),
            0,
            "the quantized network computes nearly what the model computes",
            within=4 * noise,  # grids that differ a little round some values the other way
            given=f"{given}: mean squared difference to torch's own result; that one's to the model is {noise:.3g}",
            hint="calibrate with the batches themselves, on the prepared network",
        )
        expect_type(output, torch.float32, "the quantized network takes and returns float tensors", shape=exact.shape)

    g = generator()
    down, middle, up = (torch.rand(16, 3, 8, 8, generator=g) * 4 + shift for shift in (-4, -2, 0))
    at_the_end = torch.cat([middle.repeat(7, 1, 1, 1)[:97], down, up])
    look("Small", 0, [at_the_end], "one batch of 129 images, the smallest and largest values in its last 32")

    def drawn(program):
        """A network of convolutions, linear layers and what stands between them; its names are drawn."""
        three, four = ({"in_channels": n, "out_channels": 4, "kernel_size": 3, "padding": 1} for n in (3, 4))
        known = {
            "a": ("Conv2d", three),
            "b": ("Conv2d", four),
            "c": ("Conv2d", four | {"groups": 2}),
            "r": ("ReLU", {}),
        }
        known |= {"p": ("MaxPool2d", {"kernel_size": 2}), "l": ("Linear", {"in_features": 64, "out_features": 24})}
        used = [name for name in known if f"{name}(" in program]
        paths = draw_paths(used, g)
        return {name: (paths[name], *known[name]) for name in used}, program

    residual = "l((lambda y: p(r(b(y)) + y))(a(x)).flatten(1))"
    small = up[:1] * 1.5
    look(
        drawn(residual), 3, [middle[:5], small, down[:3]], "batches of 5, 1 and 3 images, the largest values in the one"
    )
    sizes = [-torch.rand(8, 3, 32, 32, generator=g).clamp(min=1e-6).log() for _ in range(2)]
    tails = [size * (torch.randint(2, size.shape, generator=g) * 2 - 1) for size in sizes]  # Laplace's distribution
    look(drawn("a(x)"), 2, tails, "long tails: a histogram does without the last of them", noisy=True)
    pixels = [middle[:1, :, :4, :4]] * 101 + [down[:1, :, :4, :4], up[:1, :, :4, :4]]
    look(
        drawn("a(x)"),
        4,
        pixels,
        "103 batches of one image, the smallest values in the last but one, the largest in the last",
    )

    @probe
    def quantize_of(training, count):
        model = filled(Small(), 0).float().train(training)
        quantize_with_fx(model, [torch.rand(2, 3, 8, 8)] * count)

    expect_domain(
        lambda case: quantize_of(*case),
        "a model in training mode, or no batch, is refused with a ValueError",
        inside=[],  # what was quantized above
        outside=[(True, 2), (False, 0), (True, 0)],
        hint="(whether the model is in training mode, number of batches)",
    )
    ### BEGIN HIDDEN TESTS
    seed = 2 * int(torch.randint(10**6, (1,), generator=g))
    order = torch.randperm(3, generator=g).tolist()
    batches = [(down, middle, up)[i][: 2 + 5 * i] * 0.7 for i in order]
    program = "l(p(torch.add(functional.relu(c(a(x))), b(r(a(x))))).flatten(1))"
    look(drawn(program), seed, batches, f"three batches, in the order {order}")
    ### END HIDDEN TESTS

# %% [markdown]
# ## Explore: what fx makes of a network
#
# `ClassyClassifier`, the network of the Purdue assignment, before and after. Its trained weights come with the
# course, for CIFAR-10 and for generated images of simple shapes; the cell says which it took. In the picture, blue
# steps work on floats and orange ones on 8-bit integers.

# %% tags=["explore"]
from course_utils.data import classification_data

data = classification_data(train=False)
print(data.note)
training = classification_data(train=True)
model = load_trained(f"classyclassifier-{data.name}")
images, labels = normalize(data.images), data.labels
order = torch.randperm(len(training.images), generator=torch.Generator().manual_seed(0))
batches = [normalize(training.images[i]) for i in order[:1000].split(100)]  # ten batches of a hundred

fx_model = quantize_with_fx(model, batches)


def boxes(graph_module):
    """(text, whether it works on integers) for each step of a graph."""
    rows, integers = [("x: float image", False)], False
    for node in graph_module.graph.nodes:
        if node.op in ("call_module", "call_function", "call_method"):
            what = dict(operations(graph_module))[node.name]
            if what == "dequantize":
                integers = False
            elif what.startswith("quantize_per"):
                integers = True
            rows.append((f"{node.name.split('_input')[0]}: {what}" if node.op == "call_module" else what, integers))
    return rows


figure, axes = plt.subplots(1, 2, figsize=(9.6, 5.2))
for ax, g, title in ((axes[0], symbolic_trace(model), "traced: float"), (axes[1], fx_model, "after convert_fx")):
    rows = boxes(g)
    for i, (text, integers) in enumerate(rows):
        colour = COLOURS["orange"] if integers else COLOURS["sky"]
        ax.text(
            0.5, -i, text, ha="center", va="center", fontsize=9, bbox={"boxstyle": "round", "fc": colour, "alpha": 0.6}
        )
        if i:
            ax.annotate("", (0.5, -i + 0.32), (0.5, -i + 0.68), arrowprops={"arrowstyle": "->", "color": "0.3"})
    ax.set_xlim(0, 1)
    ax.set_ylim(-max(len(rows), 13) + 0.4, 0.6)
    ax.set_axis_off()
    ax.set_title(title, loc="center")
plt.show()
for name, layer in fx_model.named_children():
    print(f"{name:12s} {layer}")

# %% [markdown]
# Read the right side from top to bottom. The image is quantized once at the entrance. Each convolution swallowed the
# ReLU after it: clamping at code 0 costs nothing. Pooling works on codes directly: the largest code is the code of
# the largest value. Only `flatten`, for which torch has no rule here, steps out to floats and back in.
#
# One more detail, which only the numbers show:

# %% tags=["explore"]
observed = prepare_fx(copy.deepcopy(model), get_default_qconfig_mapping(ENGINE), (batches[0],))
with torch.no_grad():
    for batch in batches:
        observed(batch)
print(f"engine {ENGINE}; codes that the activations may use, and the ranges seen in calibration:")
for name, observer in observed.named_modules():
    if "post_process" in name and name.count(".") == 0:
        low, high = float(observer.min_val), float(observer.max_val)
        print(f"  {name:28s} {observer.quant_min} .. {observer.quant_max}   [{low:.3f}, {high:.3f}]")

# %% [markdown]
# On the engine `x86` the codes end at 127: activations get **7 bits**, not 8, because older x86 processors add two
# products of 8-bit numbers in 16 bits, and 255 · 127 + 255 · 127 does not fit in there. The observers keep a histogram
# and choose the range with the least square error.
#
# <details><summary>For the curious: the successor, PT2E</summary>
#
# `torch.ao.quantization` says of itself that it will be removed. Its successor is **PT2E**, "PyTorch 2 export", in
# the separate package torchao. Three things change. The graph comes from `torch.export`, which sees single tensor
# operations and not layers. A *quantizer* object written for one processor decides what goes on integers. And the
# converted graph only *simulates*: it keeps `dequantize` steps around float operations, until `torch.compile` melts
# them into integer kernels for this machine. The idea (observe, calibrate, convert) stays, so both fit behind one
# call: `quantize(model, example, batches, how="fx")` or `how="pt2e"`, in `course_utils.quantization.real_quantization`.
# If torchao is not installed, the table says so. (Its `state_dict` is *larger* than the float one, because it keeps the
# float weights beside the integer ones. As long as it is not compiled, it pays for rounding in float.)
#
# </details>
#
# For comparison we also need the **pseudo-quantized** network, whose values lie on 8-bit grids but are computed in
# float. You build it in the next two exercises.

# %% [markdown]
# ## Exercise 6: a gradient for a staircase
#
# With 4 bits the network should *learn* to live on
# the grid. **Quantization-aware training** (QAT; the lecture, Jacob et al. 2018) rounds in the forward pass, and
# adjusts the float weights behind the rounded ones in the backward pass. What comes out is still a float network, but
# one that loses less when it is quantized.
#
# "Quantize and dequantize" is
#
# $$
# \hat{x} = s \cdot \Big(\operatorname{clamp}\big(\operatorname{round}(x / s) + z,\; q_{\min},\; q_{\max}\big) - z\Big),
# $$
#
# with the step $s$ (scale), the zero point $z$ (the code of 0) and codes from $q_{\min}$ to $q_{\max}$. It is a
# staircase: its derivative is 0 on every step, and not defined between. With it no weight would ever move. The
# **straight-through estimator** pretends in the *backward* pass that rounding is not there:
#
# $$
# \frac{\partial \hat{x}}{\partial x} \;:=\;
# \begin{cases}
# 1 & \text{if } q_{\min} \le \operatorname{round}(x / s) + z \le q_{\max} \\
# 0 & \text{otherwise.}
# \end{cases}
# $$
#
# Why 0 outside? There the value saturates: moving $x$ really changes nothing, over a long distance and not just up to
# the next stair.
#
# In torch such a pair of passes is a subclass of `torch.autograd.Function`: `forward(ctx, ...)` computes the result
# and may keep tensors by `ctx.save_for_backward(...)`; `backward(ctx, grad)` gets the gradient with respect to the
# result and returns one gradient for **each** argument of `forward`, `None` for those that are no tensors. It is
# called as `FakeQuantize.apply(x, scale, zero_point, quant_min, quant_max)`. Multiplying is an example:
#
# ```python
# class Times(torch.autograd.Function):
#     @staticmethod
#     def forward(ctx, x, factor):
#         ctx.factor = factor
#         return x * factor
#
#     @staticmethod
#     def backward(ctx, grad):
#         return grad * ctx.factor, None
# ```


# %% nbgrader={"grade_id": "fake_quantize", "solution": true}
class FakeQuantize(torch.autograd.Function):
    """Quantizes and dequantizes; its gradient is the straight-through estimator's.

    FakeQuantize.apply(x, scale, zero_point, quant_min, quant_max) takes

        x: float tensor of any shape: float16, bfloat16, float32 or float64. It is not changed.
        scale: positive number, the step. Divide by it; do not multiply by 1 / scale, which is rounded itself.
        zero_point: whole number, the code of 0.
        quant_min, quant_max: whole numbers, the smallest and the largest code.

    and returns a tensor of x's shape and dtype: scale * (code - zero_point), with the code round(x / scale) +
    zero_point, clamped to quant_min .. quant_max. Halves are rounded to the even number, as torch.round does. The
    gradient with respect to x is the incoming one, a tensor of finite numbers, where the code, before it was clamped,
    lies in quant_min .. quant_max, and 0 elsewhere. The incoming one is not changed: others may need it. The other
    arguments have no gradient. Several calls may come before the first backward pass, and backward passes in any order:
    each call keeps what its own needs. Should x be written into meanwhile, torch's error will do, a wrong gradient not.
    """

    @staticmethod
    def forward(ctx, x, scale, zero_point, quant_min, quant_max):
        ### BEGIN SOLUTION
        code = torch.round(x / scale) + zero_point
        ctx.save_for_backward((code >= quant_min) & (code <= quant_max))
        return (code.clamp(quant_min, quant_max) - zero_point) * scale
        ### END SOLUTION

    @staticmethod
    def backward(ctx, grad):
        ### BEGIN SOLUTION
        (inside,) = ctx.saved_tensors
        return grad * inside, None, None, None, None
        ### END SOLUTION


# %% nbgrader={"grade_id": "check_fake_quantize", "grade": true, "points": 4}
with check("fake_quantize"):

    @probe
    def quantized_with_gradient(x, incoming, *grid):
        """The result, the gradient of a leaf and, of all that a call might change, what is left; also without grad."""
        leaf, incoming = x.clone().requires_grad_(), incoming.clone()
        y = FakeQuantize.apply(leaf, *grid)
        result = y.detach().clone()
        if y.requires_grad:
            y.backward(incoming)
        plain = x.clone()
        with torch.no_grad():
            again = FakeQuantize.apply(plain, *grid)
        gradient = torch.full_like(x, math.nan) if leaf.grad is None else leaf.grad
        return result, gradient, [leaf.detach(), plain], incoming, again

    @probe
    def gradients_in_any_order(xs, order, *grid):
        """Calls before any gradient is asked for, also such as need none; then gradients in some order, some again."""
        leaves = [x.clone().requires_grad_() for x in xs]
        results = []
        for leaf in leaves:
            results.append(FakeQuantize.apply(leaf, *grid))
            FakeQuantize.apply(leaf.detach() * 0 + 1e6, *grid)
        for place in order:
            results[place].sum().backward(retain_graph=True)
        return [leaf.grad for leaf in leaves]

    @probe
    def gradient_after_writing(x, other, *grid):
        """The gradient of a call whose argument is written into before the backward pass, or torch's error."""
        leaf = x.clone().requires_grad_()
        y = FakeQuantize.apply(leaf, *grid)
        with torch.no_grad():
            leaf.copy_(other)
        try:
            y.sum().backward()
        except RuntimeError as error:
            return str(error)
        return leaf.grad

    def look(x, incoming, result, inside, grid, within, given):
        rule = "FakeQuantize.apply runs, forward and backward"
        hint = "how many arguments has forward, and how many gradients does backward return?"
        y, gradient, xs, kept, again = expect_returns(
            lambda: quantized_with_gradient(x, incoming, *grid), rule, given=given, hint=hint
        )
        expect_type(y, x.dtype, "the result has x's shape and dtype", shape=x.shape, given=given)
        for got in (y, again):
            expect_close(
                got,
                result,
                "the result is scale * (code - zero_point), with code = clamp(round(x / scale) + zero_point)",
                within=within,
                given=x,
                hint=f"{given}: in which order do rounding, zero point and clamp come?",
            )
        for which, rule, hint in (
            (~inside, "where the code saturates the gradient is 0", "which code is compared, and with what?"),
            (
                inside,
                "where the code does not saturate, the first and last code included, the gradient passes unchanged",
                "what of the incoming gradient comes out, and are both ends inside?",
            ),
        ):
            expect_equal(
                gradient[which], (incoming * inside)[which], rule, given=x[which], hint=f"{given}, backward: {hint}"
            )
        for left in xs:
            expect_equal(left, x, "x itself is not changed", given=given, hint="avoid methods that end in _")
        rule = "the incoming gradient itself is not changed"
        expect_equal(kept, incoming, rule, given=given, hint="an assignment to a part of a tensor changes it, too")

    x = torch.tensor([-2.2, -1.26, -1.25, -1.1, -0.3, 0.0, 0.2, 0.6, 0.9, 1.7, 2.5, 2.745, 2.75, 3.1, 1e30, -1e30])
    codes = [0, 0, 0, 0, 1, 2, 2, 3, 4, 5, 7, 7, 7, 7, 7, 0]
    inside = torch.tensor([0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0], dtype=torch.bool)
    for dtype in (torch.float32, torch.float64):
        grid, incoming = (0.5, 2, 0, 7), (torch.arange(16) - 5.3).to(dtype)
        y = (torch.tensor(codes) - 2) * 0.5
        given = f"scale = 0.5, zero_point = 2, codes 0 .. 7, {dtype}"
        look(x.to(dtype), incoming, y, inside, grid, 1e-6, given)

    halves, given = torch.tensor([-0.25, 0.25, 0.75, 1.25, 1.75]), "scale = 0.5, zero_point = 1, codes 0 .. 7, halves"
    look(halves, torch.ones(5), torch.tensor([0, 0, 1, 1, 2]), torch.tensor([True] * 5), (0.5, 1, 0, 7), 1e-6, given)
    beside = (torch.arange(1, 6).double() + 0.5 - 2.0**-30 - 2) * 0.5  # float32 would take these for ties
    given = "scale = 0.5, zero_point = 2, codes 0 .. 7, float64, a little less than the middle of two codes"
    inside = torch.tensor([True] * 5)
    look(beside, torch.ones(5).double(), torch.tensor([-0.5, 0, 0.5, 1, 1.5]), inside, grid, 1e-12, given)

    # ties at both ends: which of two codes is the even one depends on the zero point
    for zero_point in (0, 1, 2, 3):
        for ends in ((0, 7), (1, 6)):
            codes = torch.tensor([ends[0] - 1.0, ends[0], 3, ends[1], ends[1] + 1]).double() - zero_point
            ties = torch.cat([codes - 0.5, codes + 0.5])
            low, high = (ties / 2).floor() * 2, (ties / 2).ceil() * 2
            code = torch.where((ties - low).abs() < 1, low, high) + zero_point
            inside = (code >= ends[0]) & (code <= ends[1])
            y = (code.clamp(*ends) - zero_point) * 0.25
            told = f"scale = 0.25, zero_point = {zero_point}, codes {ends[0]} .. {ends[1]}, halves"
            look(ties * 0.25, torch.arange(10).double() - 4.3, y, inside, (0.25, zero_point, *ends), 0, told)

    def look_at_all(grid, shape, dtype, g):
        """Whole steps plus a part that is never near a half: what is nearest does not hang on a rounding error."""
        scale, zero_point, quant_min, quant_max = grid
        last = torch.finfo(dtype).eps
        steps = torch.randint(quant_min - zero_point - 4, quant_max - zero_point + 5, shape, generator=g)
        part = torch.rand(shape, generator=g, dtype=torch.float64) * 0.9 - 0.45
        if last > 1e-4:  # half precision: a part of x would not be there any more
            part = part * (steps.abs() * last < 0.02)
        x = ((steps + part).double() * scale).to(dtype)
        incoming = (torch.randn(shape, generator=g, dtype=torch.float64) * (1e3, 1e-3)[zero_point % 2]).to(dtype)
        if len(shape) == 2:  # not contiguous
            steps, x, incoming = steps.T, x.T, incoming.T
        code = steps + zero_point
        inside = (code >= quant_min) & (code <= quant_max)
        y = (code.clamp(quant_min, quant_max) - zero_point).double() * scale
        within = 4 * last * y.abs()  # scale and product are rounded
        given = f"scale={scale:.4g}, zero_point={zero_point}, codes {quant_min} .. {quant_max}, {dtype}, shape {shape}"
        look(x, incoming, y, inside, grid, within, given)

    g = generator()
    dtypes = (torch.float32, torch.float64)
    shapes = [(4, 60), (), (0,), (2, 3, 4), (3, 0, 2)]
    for grid in ((0.1, 0, -7, 7), (1 / 3, 0, 0, 15), (0.02, 128, 0, 255)):
        for shape in shapes:
            for dtype in dtypes:
                look_at_all(grid, shape, dtype, g)
    for dtype in (torch.float16, torch.bfloat16):
        look_at_all((0.25, 3, 0, 15), (4, 60), dtype, g)
        look_at_all((0.1, 0, -7, 7), (), dtype, g)
    for grid, *dtype in (
        ((0.1, 12, 0, 7), torch.float32, torch.float64),  # a zero point beyond the codes
        ((0.1, -3, 0, 7), torch.float32, torch.float64),
        ((1e-30, 1, 0, 3), torch.float32, torch.float64),
        ((1e30, 1, 0, 3), torch.float32, torch.float64),
        ((1e-300, 1, -2, 3), torch.float64),
        ((0.5, 0, -(2**15), 2**15 - 1), torch.float64),
        ((0.5, 0, -(2**40), 2**40), torch.float64),
        ((1, 5, 5, 5), torch.float32),  # one code, and a scale that is an int
    ):
        for one in dtype:
            look_at_all(grid, (5, 30), one, g)
    look_at_all((0.3, 9, 0, 15), (70_001,), torch.float32, g)
    xs = [torch.tensor([0.0, 9.0, 9.0]), torch.tensor([9.0, 0.0, 9.0]), torch.tensor([9.0, 9.0, 0.0])]
    keeps = "each call keeps what its own backward needs"
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 2, 0], [1, 0, 2, 1]):
        expect_equal(
            expect_returns(lambda o=order: gradients_in_any_order(xs, o, 0.5, 2, 0, 7), keeps),
            [(x == 0) * float(order.count(place)) for place, x in enumerate(xs)],
            "each call keeps what its own backward needs",
            given=f"x = [0, 9, 9], [9, 0, 9] and [9, 9, 0] through FakeQuantize, then gradients in the order {order}",
            hint="where is the mask kept between forward and backward?",
        )
    got = gradient_after_writing(xs[0], xs[1], 0.5, 2, 0, 7)
    expect(
        "modified by an inplace operation" in got if isinstance(got, str) else got.tolist() == [1, 0, 0],
        "each call keeps what its own backward needs",
        given="x = [0, 9, 9], which is written into after the call, before the gradient is asked for",
        got=got,
        hint="what do you keep: x itself, or what you know about it? (ctx.save_for_backward makes torch notice.)",
    )

    def look_at_division(scale):
        # Values beside a tie: there a quotient that was rounded twice gets another code. The quotient itself may be
        # taken in float32 or in float64, with the scale in either: all of these are divisions
        rounded_scale = torch.tensor(scale).double()
        x = ((torch.arange(255) + 0.5) * rounded_scale).float()
        y = quantized_with_gradient(x, torch.ones_like(x), scale, 0, 0, 255)[0]
        codes = (y.double() / scale).round()
        quotients = (x / scale, x.double() / scale, x.double() / rounded_scale)
        expect(
            torch.stack([codes == quotient.double().round() for quotient in quotients]).any(0).all(),
            "x is divided by the scale",
            given=f"scale={scale:.6g}, and values that lie beside the middle of two codes",
            hint="1 / scale is rounded before it is multiplied: some values near a tie get the wrong code",
        )

    for scale in (0.0243407, 0.37, 0.7, 0.913):
        look_at_division(scale)
    ### BEGIN HIDDEN TESTS
    for grid in (
        (2.5, 3, 0, 3),
        (0.7, -5, -8, 7),
        (1.0, 0, -1, 1),
        (0.05 + float(torch.rand(1, generator=g)), 9, 0, 15),
        (3e-20, -9, 0, 3),
    ):
        for shape in [(20, 50), (), (2, 0)]:
            for dtype in dtypes:
                look_at_all(grid, shape, dtype, g)
    look_at_all((0.5, 2, -3, 12), (30, 5), torch.bfloat16, g)
    look_at_all((2.0, -2, -8, 7), (30, 5), torch.float16, g)
    order = torch.randint(3, (4,), generator=g).tolist()
    wanted = [(x == 0) * float(order.count(place)) if place in order else None for place, x in enumerate(xs)]
    expect_equal(
        [got for got in gradients_in_any_order(xs, order, 0.5, 2, 0, 7) if got is not None],
        [row for row in wanted if row is not None],
        "each call keeps what its own backward needs",
        given=f"three calls, then gradients in the order {order}",
    )
    for scale in (0.01 + torch.rand(20, generator=g, dtype=torch.float64)).tolist():
        look_at_division(scale)
    ### END HIDDEN TESTS

# %% [markdown]
# Your staircase and its pretended slope.

# %% tags=["explore"]
x = torch.linspace(-1.6, 3.2, 1201, requires_grad=True)
y = FakeQuantize.apply(x, 0.5, 2, 0, 7)
y.sum().backward()

figure, axes = plt.subplots(2, 1, figsize=(7.2, 4.6), sharex=True, height_ratios=[2, 1])
axes[0].plot(x.detach(), x.detach(), color="0.6", linestyle="--", linewidth=1, label="no quantization")
axes[0].plot(x.detach(), y.detach(), color=COLOURS["blue"], label="forward: staircase")
axes[0].set_ylabel("FakeQuantize(x)")
axes[0].legend()
axes[1].plot(x.detach(), x.grad, color=COLOURS["vermillion"], label="backward: straight-through")
axes[1].axhline(0, color=COLOURS["black"], linestyle=":", linewidth=1.2, label="true derivative (almost everywhere)")
axes[1].set_ylim(-0.15, 1.6)
axes[1].set_ylabel("gradient")
axes[1].set_xlabel("x")
axes[1].legend(loc="upper right", ncols=2)
axes[0].set_title("step 0.5, zero point 2, codes 0 .. 7")
plt.show()

# %% [markdown]
# ## Exercise 7: a layer that computes on grids
#
# One layer of a network in quantization-aware training: weights and input are rounded to grids, then the layer
# computes as always. The two grids differ, as they do in torch:
#
# - **Weights: symmetric.** Zero point 0, codes from $-(2^{n-1} - 1)$ to $2^{n-1} - 1$, scale
#   $\max|w| / (2^{n-1} - 1)$, taken from the *current* weights in every pass.
# - **Input: affine.** Codes $0$ to $2^n - 1$ over a range $[\text{low}, \text{high}]$ that calibration found. The
#   range is first widened to contain 0; then scale $(\text{high} - \text{low}) / (2^n - 1)$ and zero point
#   $\operatorname{round}(-\text{low} / \text{scale})$; of a half either neighbour will do.
# - **Bias:** stays as it is.
#
# If a grid has no width (all weights 0, or a range of only 0), any scale will do: take 1.0. The scale is a plain
# Python number (`.item()`), so no gradient flows through it; gradients flow through `fake_quantize` to input and
# weight. By hand, 4 bits: weights up to 1.4 in magnitude have scale 1.4 / 7 = 0.2; a range $[0.5, 3]$ is widened to
# $[0, 3]$, with scale 3 / 15 = 0.2 and zero point 0.
#
# `fake_quantize` is an argument, so this exercise works without the last one; later you will pass
# `FakeQuantize.apply`. To run the layer with another weight you may call `functional.linear` or `functional.conv2d`
# with the layer's settings (`stride`, `padding`, `dilation`, `groups`).


# %% nbgrader={"grade_id": "quantized_forward", "solution": true}
def quantized_forward(layer, x, low, high, num_bits, fake_quantize):
    """Runs a layer with its weights and its input on grids of num_bits.

    Args:
        layer: nn.Linear, or nn.Conv2d with padding_mode "zeros", or of a class derived from one of them; any stride,
            padding, dilation, groups, with or without bias. It is not changed.
        x: float tensor, input of the layer: of any shape that the layer takes, with or without a batch.
        low, high: Python numbers, the range of the input.
        num_bits: whole number from 2 to 8, for both grids.
        fake_quantize: function (values, scale, zero_point, quant_min, quant_max) -> values on the grid, where values is
            a tensor, scale a Python float and the others Python ints. It is called once for the input and once for the
            weight.

    Returns:
        The layer's output with what fake_quantize returned in place of input and weight; gradients flow through both.

    Raises:
        ValueError: if num_bits is not in 2 .. 8, or low is greater than high.
        TypeError: if layer is neither nn.Linear nor nn.Conv2d.
    """
    ### BEGIN SOLUTION
    if not 2 <= num_bits <= 8:
        raise ValueError(f"num_bits is 2 to 8, not {num_bits}")
    if low > high:
        raise ValueError(f"low {low} is greater than high {high}")
    if not isinstance(layer, (nn.Linear, nn.Conv2d)):
        raise TypeError(f"no rule for a {type(layer).__name__}")

    low, high, levels = min(float(low), 0.0), max(float(high), 0.0), 2**num_bits - 1
    scale = (high - low) / levels or 1.0
    x = fake_quantize(x, scale, round(-low / scale), 0, levels)

    largest = 2 ** (num_bits - 1) - 1
    scale = layer.weight.detach().abs().max().item() / largest or 1.0
    weight = fake_quantize(layer.weight, scale, 0, -largest, largest)

    if isinstance(layer, nn.Linear):
        return functional.linear(x, weight, layer.bias)
    return functional.conv2d(x, weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)
    ### END SOLUTION


# %% nbgrader={"grade_id": "check_quantized_forward", "grade": true, "points": 4}
with check("quantized_forward"):

    def layer_of(kind, settings, weight, bias, seed):
        """A layer that holds given numbers, and what others leave on layers; its own weight and bias can learn."""
        layer = Wired({"a": ("layer", kind, settings)}, "a(x)").get_submodule("layer").to(weight.dtype)
        with torch.no_grad():
            layer.weight.copy_(weight)
            if bias is not None:
                layer.bias.copy_(bias)
        layer.train(seed % 2 == 0).mark_of_others = seed
        for p in layer.parameters():
            p.grad = torch.full_like(p, 2.0)
        return layer

    @probe
    def run_layer(kind, settings, weight, bias, x, low, high, num_bits, seed):
        layer = Wired({"a": ("layer", kind, settings)}, "a(x)").get_submodule("layer").to(weight.dtype)
        with torch.no_grad():
            layer.weight.copy_(weight)
            if bias is not None:
                layer.bias.copy_(bias)
        layer.train(seed % 2 == 0).mark_of_others = seed
        for p in layer.parameters():
            p.grad = torch.full_like(p, 2.0)
        calls, leaf = [], x.clone().requires_grad_()

        def stand_in(values, scale, zero_point, quant_min, quant_max):
            """Doubles an input and triples a weight, which has a code below 0; and notes how it was called."""
            types = [type(number).__name__ for number in (scale, zero_point, quant_min, quant_max)]
            calls.append([values.detach().clone(), [float(scale), zero_point, quant_min, quant_max], types])
            return values * (3 if quant_min < 0 else 2)

        y = quantized_forward(layer, leaf, low, high, num_bits, stand_in)
        after = state_of(layer, leaf)
        if y.requires_grad:
            y.sum().backward()
        gradients = [leaf.grad, layer.weight.grad - 2, None if bias is None else layer.bias.grad - 2]
        with torch.no_grad():
            again = quantized_forward(layer, x, low, high, num_bits, stand_in)
        return calls[:-2], y.detach(), gradients, after, again

    def run_by_hand(settings, weight, bias, x):
        leaves = [t if t is None else t.clone().requires_grad_() for t in (x, weight, bias)]
        if weight.dim() == 2:
            y = functional.linear(2 * leaves[0], 3 * leaves[1], leaves[2])
        else:
            rest = {k: v for k, v in settings.items() if k in ("stride", "padding", "dilation", "groups")}
            y = functional.conv2d(2 * leaves[0], 3 * leaves[1], leaves[2], **rest)
        y.sum().backward()
        return y.detach(), [None if t is None else t.grad for t in leaves]

    def look(kind, settings, weight, bias, x, low, high, num_bits, grids):
        """grids: scale of the weight, then scale and zero point of the input."""
        given = f"{kind}({settings}), largest weight {float(weight.abs().max()):.6g}, range [{low}, {high}]"
        given = f"{given}, {num_bits} bits, {str(x.dtype).removeprefix('torch.')}, input {tuple(x.shape)}"
        rule = "fake_quantize is called once for the input and once for the weight"
        seed = int(torch.randint(10**6, (1,), generator=g))
        calls, output, gradients, after, again = expect_returns(
            lambda: run_layer(kind, settings, weight, bias, x, low, high, num_bits, seed),
            "every layer of the two kinds gives an output, for every range and for 2 to 8 bits",
            given=given,
            hint="which settings does your call hand on, and what do you refuse?",
        )
        hint = "which tensor goes in as it is, and what comes of each grid without width?"
        expect_equal(len(calls), 2, rule, given=given, hint=hint)
        of = {(value.shape == weight.shape and torch.equal(value, weight)): [0, scale, *rest, value, types]
              for value, (scale, *rest), types in calls}  # fmt: skip
        expect_equal(sorted(of), [False, True], rule, given=given, hint=hint)
        of_weight, of_input = of[True], of[False]
        expect_equal(of_input[5], x, rule, given=given, hint="the input itself goes in, not something clamped")
        expect(
            all(call[6] == ["float", "int", "int", "int"] for call in of.values()),
            "scale, zero point and codes are plain Python numbers: a float and three ints",
            given=given,
            got=[call[6] for call in of.values()],
            hint="which operation makes a number of a tensor of one element, and which a whole number of another?",
        )
        top, levels = 2 ** (num_bits - 1) - 1, 2**num_bits - 1
        expect_equal(
            of_weight[2:5],
            [0, -top, top],
            "the weight's grid is symmetric: zero point 0, codes -(2^(n-1) - 1) .. 2^(n-1) - 1",
            given=given,
            hint="how many codes are there on each side of 0?",
        )
        expect_close(
            of_weight[1],
            grids[0],
            "a grid without width has scale 1.0"
            if not weight.any()
            else "the weight's scale is max|w| / (2^(n-1) - 1)",
            within=grids[0] * max(2**-20, 2 * torch.finfo(x.dtype).eps),  # it may have been float32 on its way
            given=given,
            hint="the largest magnitude, of negative weights too; and if that is 0?",
        )
        expect_equal(of_input[3:5], [0, levels], "the input's codes are 0 .. 2^n - 1", given=given, hint="and n is?")
        expect_close(
            of_input[1],
            grids[1],
            "a grid without width has scale 1.0"
            if low == high == 0
            else "the input's range is widened to contain 0 and divided into 2^n - 1 steps",
            within=grids[1] * 2**-20,
            given=given,
            hint="where is 0 in the range, how many steps lie between so many codes, and are there any?",
        )
        expect_equal(
            of_input[2],
            grids[2],
            "the input's zero point is the whole number nearest to -low / scale",
            given=given,
            hint="with the widened low; the nearest, not the one below",
        )
        expected, wanted = run_by_hand(settings, weight, bias, x)
        within = (
            1000 * torch.finfo(x.dtype).eps * (1 + float(weight.abs().max()))
        )  # sums of at most 36 products near 10
        for result in (output, again):
            expect_close(
                result,
                expected,
                "the layer computes with what fake_quantize returned, with its own bias and all of its settings",
                within=within,
                given=f"{given}; a fake_quantize that doubles the input and triples the weight",
                hint="bias, stride, padding, dilation, groups: which does your call hand on?",
            )
        expect_type(output, x.dtype, "the output is the layer's: its dtype and shape", shape=expected.shape)
        for name, got, want in zip(("input", "weight", "bias"), gradients, wanted, strict=True):
            if want is not None:
                rule = "gradients flow to the input, the weight and the bias"
                told = f"{given}: that of the {name}"
                expect(got is not None, rule, given=told, got="no gradient", hint="what cuts a tensor's history off?")
                expect_close(got, want, rule, within=within, given=told, hint="what cuts a tensor's history off?")
        before = state_of(layer_of(kind, settings, weight, bias, seed), x.clone().requires_grad_())
        expect_unchanged(before, after, "layer and x are not changed", hint="it is only read: values, mode, gradients")

    def draw(*shape, dtype=torch.float64):
        return torch.randn(shape, generator=g, dtype=dtype)

    def look_at_layer(extra, low, high, num_bits, grid, with_bias, dtype=torch.float64, shape=(2,), kind="Conv2d"):
        settings = {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "bias": with_bias, **extra}
        kernel = settings["kernel_size"] if isinstance(settings["kernel_size"], tuple) else (3, 3)
        weight, x = draw(6, 4 // settings.get("groups", 1), *kernel, dtype=dtype), draw(*shape, 4, 7, 8, dtype=dtype)
        weight[3, 0, 0, 0] = -7.0  # the largest magnitude is a negative weight's
        bias = draw(6, dtype=dtype) if with_bias else None
        top = 2 ** (num_bits - 1) - 1
        look(kind, settings, weight, bias, x, low, high, num_bits, [7.0 / top, *grid])

    g = generator()
    linear, bias = {"in_features": 2, "out_features": 2}, torch.tensor([10.0, 20.0]).double()
    weight, x = torch.tensor([[1.4, -0.7], [0.2, 0.0]]).double(), torch.tensor([[1.0, 3.5], [0.5, 2.0]]).double()
    look("Linear", linear, weight, bias, x, 0.5, 3.0, 4, [1.4 / 7, 0.2, 0])
    look("Linear", linear, weight, bias, x, -1, 2, 2, [1.4, 1.0, 1])
    look("Linear", linear, weight, bias, x, -3.0, -1.0, 8, [1.4 / 127, 3 / 255, 255])
    look("Linear", linear, weight * 0, bias, x, 0, 0, 4, [1.0, 1.0, 0])
    look("Linear", linear, weight, bias, x, 3.0, 3.0, 4, [1.4 / 7, 0.2, 0])
    look("Linear", linear, weight, bias, x, -3.0, -3.0, 4, [1.4 / 7, 0.2, 15])
    look("Linear", linear, *(t.float() for t in (weight, bias, x)), 0.0, 3.0, 4, [1.4 / 7, 0.2, 0])
    look_at_layer({"stride": (2, 1), "padding": (1, 0)}, -1.2, 1.8, 4, [0.2, 6], True)
    look_at_layer({"groups": 2, "padding": "same"}, -1.325, 1.7, 3, [3.025 / 7, 3], False)
    look_at_layer({"kernel_size": (3, 1), "dilation": 2}, -0.3, 0.01, 8, [0.31 / 255, 247], True, torch.float32)
    look_at_layer({"kernel_size": (2, 4), "padding": "same", "dilation": (1, 2)}, -1, 2, 2, [1.0, 1], True, shape=())
    look_at_layer({"padding": (0, 2), "groups": 2}, -1, 2, 2, [1.0, 1], False, shape=())
    look_at_layer({"padding": 1}, -1, 2, 2, [1.0, 1], True, shape=(0,))
    mine = "A(B(Conv2d))"
    look_at_layer({"padding": "valid", "stride": (1, 2)}, -1, 2, 2, [1.0, 1], True, kind=mine)
    for shape in ((2,), (0, 2), (3, 1, 2), (2, 3, 4, 2)):
        look("Linear", linear, weight, bias, draw(*shape), -1, 2, 2, [1.4, 1.0, 1])
        look("Mine(Linear)", linear | {"bias": False}, weight, None, draw(*shape), -1, 2, 2, [1.4, 1.0, 1])
    for low, high, num_bits, grid in (  # numbers of any size, and ends that nearly meet
        (-1e-30, 2e-30, 2, [1e-30, 1]),
        (-0.0, 3e-200, 2, [1e-200, 0]),
        (-1e30, 2e30, 2, [1e30, 1]),
        (1 - 2.0**-53, 1.0, 2, [1 / 3, 0]),
        (-255.0, 0, 8, [1.0, 255]),
    ):
        look("Linear", linear, weight, bias, x, low, high, num_bits, [1.4 / (2 ** (num_bits - 1) - 1), *grid])
    for size in (1e-9, 1e-30, 1e-300, 1e30):
        look("Linear", linear, weight * size, bias, x, -1, 2, 4, [0.2 * size, 0.2, 5])
    halves = [t.to(torch.bfloat16) for t in (weight, bias, x)]
    look("Linear", linear, *halves, -1, 2, 2, [1.4, 1.0, 1])

    rule = "num_bits outside 2 .. 8 and low above high are refused with a ValueError"
    expect_domain(
        lambda case: run_layer("Linear", linear, weight, bias, x, *case, 0)[1],
        rule,
        inside=[(0, 1, 2), (0, 1, 8), (1.0, 1.0, 4)],
        outside=[
            *((0, 1, n) for n in (1, 9, 0, -4, 16)),
            *((2.0, 1.0, 4), (-1.0, -2.0, 4), (1.0, 1 - 2.0**-53, 4), (1e-300, 0, 4), (0, -1e-30, 4), (3, 2, 9)),
        ],
        hint="(low, high, num_bits): ask before anything is widened",
    )
    one = {"in_channels": 2, "out_channels": 2, "kernel_size": 1}
    for kind, settings, shape in (
        ("ConvTranspose2d", one, (2, 2, 1, 1)),
        ("Conv1d", one, (2, 2, 1)),
        ("Conv3d", one, (2, 2, 1, 1, 1)),
        ("Conv2d(ConvTranspose2d)", one, (2, 2, 1, 1)),
        ("Linear(Conv1d)", one, (2, 2, 1)),
        ("Bilinear", {"in1_features": 2, "in2_features": 2, "out_features": 2}, (2, 2, 2)),
        ("BatchNorm2d", {"num_features": 2}, (2,)),
        ("Embedding", {"num_embeddings": 2, "embedding_dim": 2}, (2, 2)),
    ):
        given = f"{kind}: is it of one of the two classes, whatever it is called?"
        part = torch.ones(1, *shape[1:]) if shape[1:] else torch.ones(1, 2, 1, 1)
        own = None if kind == "Embedding" else torch.ones(2)
        expect_raises(
            TypeError,
            lambda k=kind, s=settings, n=shape, p=part, b=own: run_layer(k, s, torch.ones(n), b, p, 0, 1, 4, 0),
            "a layer of another kind is refused with a TypeError",
            given=given,
            hint="ask for the layer's class, subclasses included",
        )

    @probe
    def scales_of_passes(num_bits, weights):
        """The scales of the weight in passes of two layers by turns, whose weights change in between."""
        layers, scales = (nn.Linear(1, 1), nn.Linear(1, 1)), []

        def stand_in(values, scale, zero_point, quant_min, quant_max):
            if quant_min < 0:  # the weight's
                scales.append(float(scale))
            return values

        for number, weight in enumerate(weights):
            layers[number % 2].weight.data.fill_(weight)
            quantized_forward(layers[number % 2], torch.ones(1, 1), 0, 1, num_bits, stand_in)
        return scales

    rule = "the weight's scale is taken from the current weights in every pass"
    weights = [*torch.randint(1, 50, (7,), generator=g).tolist(), 0, 3.5]
    scales = expect_returns(lambda: scales_of_passes(4, weights), rule, given="passes of two layers by turns")
    expect_close(
        scales,
        [weight / 7 or 1.0 for weight in weights],
        rule,
        within=1e-5,
        given=f"passes of two layers by turns with the weights {weights}, 4 bits",
        hint="what is kept from one pass to the next?",
    )
    ### BEGIN HIDDEN TESTS
    for number, (extra, low, high, num_bits) in enumerate(
        [
            ({"padding": 1}, -0.9, 2.1, 5),
            ({"kernel_size": (1, 3), "dilation": (1, 2), "padding": (0, 2)}, -2.5, -0.5, 7),
            ({"stride": 2, "groups": 2}, 0.25, 4.0, 6),
            ({"kernel_size": (3, 2), "padding": "valid"}, -1.0, 0.07, 3),
        ]
    ):
        for with_bias in (True, False):
            scale = (max(high, 0) - min(low, 0)) / (2**num_bits - 1)
            grid = [scale, round(-min(low, 0) / scale)]
            dtype = torch.float32 if number == 2 else torch.float64
            look_at_layer(extra, low, high, num_bits, grid, with_bias, dtype)
    settings = {"in_features": 6, "out_features": 3, "bias": False}
    weight = draw(3, 6)
    top = float(weight.abs().max())
    look("Linear", settings, weight, None, draw(2, 5, 6), -0.4, 1.1, 4, [top / 7, 0.1, 4])
    look("Linear", settings, weight * 0, None, draw(5, 6), 0.0, 2.0, 2, [1.0, 2 / 3, 0])
    look("Linear", settings, weight, None, draw(5, 6), 0.0, 0.0, 8, [top / 127, 1.0, 0])
    ### END HIDDEN TESTS

# %% [markdown]
# ## Explore: float, pseudo-quantized, real
#
# Now everything comes together. `GridLayer` wraps a layer: in training mode it follows the range of its input (each
# batch moves the range a tenth of the way to the batch's own smallest and largest value), in eval mode the range
# stands still. Your `quantized_forward` does the work, and your `replace_layers` puts the wrappers into the graph.


# %% tags=["explore"]
class GridLayer(nn.Module):
    """A layer on grids of num_bits that follows its input's range while it is in training mode."""

    def __init__(self, layer, num_bits):
        super().__init__()
        self.layer, self.num_bits, self.low, self.high = layer, num_bits, None, None

    def forward(self, x):
        if self.training:
            low, high = x.min().item(), x.max().item()
            first = self.low is None
            self.low = low if first else 0.9 * self.low + 0.1 * low
            self.high = high if first else 0.9 * self.high + 0.1 * high
        return quantized_forward(self.layer, x, self.low, self.high, self.num_bits, FakeQuantize.apply)


def on_grids(network, num_bits, batches):
    """A calibrated copy of a network whose convolutions and linear layers compute on grids."""
    graph = replace_layers(symbolic_trace(network), (nn.Conv2d, nn.Linear), lambda layer: GridLayer(layer, num_bits))
    graph.train()
    with torch.no_grad():
        for batch in batches:
            graph(batch)
    return graph.eval()


from course_utils.quantization.real_quantization import available, quantize

missing = available()
networks = {"float": model, "pseudo-quantized": on_grids(model, 8, batches), "fx": fx_model}
if missing["pt2e"]:
    print(f"The row PT2E is left out: {missing['pt2e']}.")
else:
    networks["PT2E"] = quantize(model, batches[0], batches, how="pt2e")
# small batches stay in the processor's cache, and pooling is quicker with a pixel's channels side by side
test_set = images.contiguous(memory_format=torch.channels_last), labels
shares = {name: accuracy(network, *test_set, batch_size=100) for name, network in networks.items()}
print(f"correct, of {len(images):,} test images of {data.name}")
for name, share in shares.items():
    print(f"{name:18s} {share:.4f}")

# %% [markdown]
# **How large is the file?** That depends on what one writes into it. The cell stores each network in several formats:
# `state_dict` (names and tensors only, `torch.save`), TorchScript (tensors and program, `torch.jit.save`) and, for
# PT2E, `torch.export.save`. Below that it counts the bytes that must be there.

# %% tags=["explore"]
import tempfile
from pathlib import Path


def file_bytes(write):
    """How many bytes a function writes to the path it is given."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network"
        write(str(path))
        return path.stat().st_size


def state_dict_bytes(network):
    return file_bytes(lambda path: torch.save(network.state_dict(), path))


def torchscript_bytes(network):
    with torch.no_grad():
        return file_bytes(lambda path: torch.jit.save(torch.jit.trace(network, batches[0]), path))


sizes = {
    "state_dict": {name: state_dict_bytes(network) for name, network in networks.items() if name != "pseudo-quantized"},
    "TorchScript": {name: torchscript_bytes(networks[name]) for name in ("float", "fx")},
}
if "PT2E" in networks:
    with torch.no_grad():
        program = torch.export.export(networks["PT2E"], (batches[0],))
    sizes["torch.export"] = {
        "PT2E": file_bytes(lambda path: torch.export.save(program, f"{path}.pt2") or Path(f"{path}.pt2").rename(path))
    }
print(f"{'format':14s} {'network':8s} {'bytes':>9s} {'kB':>8s}   of float")
for format_name, row in sizes.items():
    for name, size in row.items():
        share = f"{100 * size / row['float']:8.1f} %" if "float" in row else ""
        print(f"{format_name:14s} {name:8s} {size:9d} {size / 1000:8.1f} {share}")

parameters = sum(p.numel() for p in model.parameters())
biases = sum(p.numel() for p in model.parameters() if p.dim() == 1)
parts = {
    "float": {"weights": 4 * (parameters - biases), "biases": 4 * biases, "scales, zero points": 0},
    # per output channel (as many as biases): one scale and one zero point of 8 bytes each
    "fx": {"weights": parameters - biases, "biases": 4 * biases, "scales, zero points": 16 * biases},
}
for name, part in parts.items():
    print(f"{name}: " + ", ".join(f"{size} bytes of {what}" for what, size in part.items() if size), end="; ")
    print(f"the rest of its state_dict file, {sizes['state_dict'][name] - sum(part.values())} bytes, is packaging")

figure, ax = plt.subplots(figsize=(7.6, 2.8))
rows = [(name, f) for f in ("TorchScript", "state_dict") for name in ("fx", "float")]
for i, (name, format_name) in enumerate(rows):
    left = 0
    part = {**parts[name], "names, program, container": sizes[format_name][name] - sum(parts[name].values())}
    colours, hatches = ("blue", "green", "orange", "vermillion"), (None, None, None, "////")
    for (what, size), colour, hatch in zip(part.items(), colours, hatches, strict=True):
        look = {"color": COLOURS[colour], "hatch": hatch, "edgecolor": "white", "lw": 0}
        ax.barh(i, size / 1000, left=left / 1000, label=what if i == 1 else None, **look)
        left += size
    ax.text(left / 1000 + 5, i, f"{left / 1000:.1f} kB", va="center", fontsize=9)
ax.set_yticks(range(len(rows)), [f"{name}, {f}" for name, f in rows])
ax.set_xlabel("size of the file (kB = 1000 bytes)")
ax.set_xlim(0, 640)
ax.grid(False, axis="y")
handles, texts = ax.get_legend_handles_labels()
figure.legend(handles, texts, loc="outside lower center", ncols=4, fontsize=8)
plt.show()

# %% [markdown]
# The weights themselves shrink to a quarter, exactly. The file does not: biases stay 32 bits wide, each output
# channel brings a scale and a zero point along, and every format adds its packaging, which does not shrink at all.
#
# **How fast is it?** Median time for one batch, one thread, on your machine, at this moment.

# %% tags=["explore"]
COMPILE_PT2E = False  # True: let torch.compile make integer kernels of it. Needs a C++ compiler and up to a minute


def milliseconds(network, batch_size, times=15):
    x = images[:batch_size]
    taken = []
    with torch.no_grad():
        network(x)
        for _ in range(times):
            start = time.perf_counter()
            network(x)
            taken.append(time.perf_counter() - start)
    return 1000 * float(np.median(taken))


if COMPILE_PT2E and "PT2E" in networks:
    import torch._inductor.config

    torch._inductor.config.freezing = True
    networks["PT2E compiled"] = torch.compile(networks["PT2E"])
latency = {name: [milliseconds(network, size) for size in (1, 256)] for name, network in networks.items()}
print(f"{'time a batch':18s} {'1 image':>12s} {'256 images':>14s}")
for name, (single, many) in latency.items():
    print(f"{name:18s} {single:9.2f} ms {many:11.2f} ms")

# %% [markdown]
# Compare fx against float, with 256 images and with one: integers pay where there is much to compute; for a single
# image, calling the layers takes a good part of the time. Pseudo-quantized against float: rounding is *extra* work.
#
# ## Explore: quantization-aware training at 4 bits
#
# The experiment. From the same trained network and at the same 4 bits, for each of three seeds:
#
# - **PTQ**: post-training quantization, calibrated with ten batches. No training.
# - **QAT**: the same network on its grids, then 300 steps of training through your `FakeQuantize`.
# - **Float, then PTQ**: as a control, the float network gets the same 300 steps and is quantized then. If QAT won
#   only because it saw more data, this would win as much.
#
# The seed decides which images are drawn, for calibration and for training.
#
# <details><summary>For the curious: how learning rate and batch size were chosen</summary>
#
# Learning rate and batch size are choices,
# too, and choosing them by the test images would flatter the result. So 5,000 *training* images are held out, and the
# last lines of the next cell compare eight settings on them, with other seeds. Set `CHOOSE` to True to run that; it
# takes some minutes. It was done on shapes, and the best of the eight is what `RATE` and `SIZE` say. CIFAR-10 takes the
# same. The number of steps was not chosen by any accuracy: it keeps the cell short.
#
# </details>

# %% tags=["explore"]
BITS, STEPS, SEEDS = 4, 300, (0, 1, 2)
RATE, SIZE = 1e-4, 16
CHOOSE = False

pool = len(training.images) - 5000  # from here on training images are held out


def draw_batch(g, size=32):
    chosen = torch.randint(pool, (size,), generator=g)
    return normalize(training.images[chosen]), training.labels[chosen]


def train(network, g, rate=RATE, size=SIZE):
    """A few hundred steps of Adam with a learning rate that falls to zero; returns the loss of every step."""
    network.train()
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    losses = []
    for _ in range(STEPS):
        x, y = draw_batch(g, size)
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(x), y)
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    network.eval()
    return losses


if CHOOSE:
    held_out = normalize(training.images[pool:]), training.labels[pool:]
    for size in (16, 32):
        for rate in (3e-5, 1e-4, 3e-4, 1e-3):
            found = []
            for seed in (10, 11):
                g = torch.Generator().manual_seed(seed)
                network = on_grids(model, BITS, [draw_batch(g)[0] for _ in range(10)])
                train(network, g, rate, size)
                found.append(100 * accuracy(network, *held_out, batch_size=50))
            print(f"batches of {size}, learning rate {rate:.0e}: {np.mean(found):.2f} % of the held-out images")

# %% [markdown]
# Now the three treatments, on all test images.

# %% tags=["explore"]
results = {"PTQ": [], "QAT": [], "float, then PTQ": []}
losses = []
started = time.perf_counter()
for seed in SEEDS:
    g = torch.Generator().manual_seed(seed)
    calibration = [draw_batch(g)[0] for _ in range(10)]
    state = g.get_state()

    network = on_grids(model, BITS, calibration)
    results["PTQ"].append(100 * accuracy(network, *test_set, batch_size=100))
    losses.append(train(network, g))
    results["QAT"].append(100 * accuracy(network, *test_set, batch_size=100))

    g.set_state(state)  # the control sees the very same training batches
    longer = copy.deepcopy(model)
    train(longer, g)
    results["float, then PTQ"].append(100 * accuracy(on_grids(longer, BITS, calibration), *test_set, batch_size=100))
reference = 100 * shares["float"]
print(
    f"{data.name}, {len(images):,} test images, {BITS} bits, {STEPS} steps, float: {reference:.2f} %; "
    f"took {time.perf_counter() - started:.0f} s"
)
for name, values in results.items():
    print(f"{name:16s} " + "  ".join(f"{v:6.2f}" for v in values) + f"   mean {np.mean(values):6.2f} %")
difference = [q - p for q, p in zip(results["QAT"], results["PTQ"], strict=True)]
print(
    "QAT minus PTQ, seed by seed: " + ", ".join(f"{d:+.2f}" for d in difference) + f"; mean {np.mean(difference):+.2f}"
)
share = np.mean(results["PTQ"])
print(f"one standard error of a single share: {math.sqrt(share * (100 - share) / len(images)):.2f} percentage points")

figure, axes = plt.subplots(1, 2, figsize=(10, 3.6))
for i, values in enumerate(results.values()):
    colour = list(COLOURS.values())[i]
    axes[0].plot(values, [i] * len(values), "o", color=colour, alpha=0.6)
    axes[0].plot([np.mean(values)], [i], "|", color=colour, markersize=26, markeredgewidth=3)
axes[0].axvline(reference, color=COLOURS["black"], linestyle="--", linewidth=1)
axes[0].text(reference, 2.35, "float", ha="right", va="bottom", fontsize=9)
axes[0].set_yticks(range(3), list(results))
axes[0].set_ylim(-0.5, 2.7)
axes[0].set_xlabel(f"correct with {BITS} bits (%); dots: seeds, bars: means")
smooth = np.convolve(np.mean(losses, axis=0), np.ones(100) / 100, mode="valid")
axes[1].plot(np.arange(len(smooth)) + 100, smooth, color=COLOURS["blue"])
axes[1].set_ylim(0)
axes[1].set_xlabel("step of quantization-aware training")
axes[1].set_ylabel("cross entropy (nats)\nmean of 100 steps and all seeds")
plt.show()

# %% [markdown]
# Read the differences seed by seed: the same calibration batches, the same test images, so only the treatment differs.
# The standard error is that of a single share; other test images would move all dots of the picture together.

# %% [markdown]
# ## Explore: how many bits where?
#
# Weights and activations need not have the same number of bits. Move the sliders (the arrow keys work too): each
# setting that you visit stays in the right picture. It runs on your `FakeQuantize.apply`, with 200 images for speed,
# so its percentages are rough; the bar in the ring shows how rough. On the left, both heights are shares for the width
# of one step. Find the point where fewer bits for the weights begin to hurt. Is it the same for the activations?
#
# <details><summary>Answer</summary>
#
# One standard error is about 2 percentage points here, so differences below 4 say little. On the generated shapes 4
# bits are as good as 8, for the weights and for the activations. Below that both bend, and the weights more: with the
# other one at 8 bits, 3 bits leave about 65 % for the weights and 81 % for the activations, 2 bits 13 % and 58 %. A
# symmetric grid of 2 bits has three values, the affine one of the activations four, and no output channel has a grid of
# its own. Another network may bend elsewhere.
#
# </details>

# %% tags=["explore"]
from course_utils.demos import BitsAndAccuracy, bits_and_accuracy_demo, bits_and_accuracy_still

playground = BitsAndAccuracy(model, images[:200], labels[:200], FakeQuantize.apply)
bits_and_accuracy_demo(playground)

# %% [markdown]
# Three settings side by side:

# %% tags=["explore"]
bits_and_accuracy_still(playground)

# %% [markdown]
# ## What the field reports
#
# The Purdue assignment ends with three accuracies on CIFAR-10 (10,000 test images) and two file sizes. Its weights
# are not ours, so compare the *changes*.
#
# | Purdue assignment | accuracy | correct | model size |
# |---|---|---|---|
# | original `ClassyClassifier` | 0.687 | 6874 | 539.1 kB |
# | pseudo-quantized | 0.689 | 6890 | – |
# | fx-quantized | 0.690 | 6901 | 160.4 kB |

# %% tags=["explore"]
published = {"float": (0.687, 539.1), "pseudo-quantized": (0.689, None), "fx": (0.690, 160.4), "PT2E": (None, None)}
print(f"here: {data.name}, {len(images)} test images; sizes in kB; times for 256 images; engine {ENGINE}")
print(
    f"{'':18s} | {'accuracy':>8s} {'change':>8s} {'state_dict':>10s} {'TorchScript':>11s} {'time':>10s} "
    f"| {'Purdue':>7s} {'change':>7s} {'size':>6s}"
)


def cell(value, form, width):
    return f"{'–' if value is None else format(value, form):>{width}s}"


for name in published:
    share = shares.get(name)
    if share is None:
        print(f"{name:18s} | not measured: torchao is not installed")
        continue
    kilobytes = [None if (b := sizes[f].get(name)) is None else b / 1000 for f in ("state_dict", "TorchScript")]
    theirs, size = published[name]
    change = None if theirs is None else theirs - 0.687
    print(
        f"{name:18s} | {share:8.4f} {share - shares['float']:+8.4f} {cell(kilobytes[0], '.1f', 10)} "
        f"{cell(kilobytes[1], '.1f', 11)} {latency[name][1]:7.1f} ms | {cell(theirs, '.3f', 7)} "
        f"{cell(change, '+.3f', 7)} {cell(size, '.1f', 6)}"
    )
ratio = {f: sizes[f]["fx"] / sizes[f]["float"] for f in ("state_dict", "TorchScript")}
print(
    f"fx file / float file: state_dict {ratio['state_dict']:.3f}, TorchScript {ratio['TorchScript']:.3f}, "
    f"Purdue {160.4 / 539.1:.3f}"
)
print("kB in the file beside weights, biases, scales and zero points:")
for name in ("float", "fx"):
    numbers = sum(parts[name].values()) / 1000
    beside = {f: sizes[f][name] / 1000 - numbers for f in ("state_dict", "TorchScript")}
    print(
        f"  {name:6s} state_dict {beside['state_dict']:5.1f}, TorchScript {beside['TorchScript']:5.1f}, "
        f"Purdue {published[name][1] - numbers:5.1f}"
    )
with torch.no_grad():
    answers = {name: torch.cat([networks[name](x).argmax(1) for x in images.split(500)]) for name in ("float", "fx")}
changed = float((answers["fx"] != answers["float"]).float().mean())
n = len(images)
print(
    f"fx changes the answer for {100 * changed:.2f} % of the images. If a changed answer is as often a gain as a loss,"
)
print(f"the accuracy moves by about ± {math.sqrt(changed / n):.4f} by chance.")

# %% [markdown]
# **Why did quantization *raise* the accuracy there?** It did not, in any way one could count on. A few answers flip,
# in both directions; which direction wins is luck, and the last line shows how large that luck is on your data.
#
# <details><summary>For the curious: which size did the assignment print?</summary>
#
# It does not say which format it wrote. The four bytes of each of 128,262
# parameters alone make 513.0 kB, so its float file holds about 26 kB of something else, and its fx file about as much.
# Compare with the packaging printed above: a `state_dict` needs far less. TorchScript, which stores the program as
# well, is nearer, though not the same: what it writes about a program depends on the version of torch and even on
# where the program came from. Before you compare two published sizes, ask what was in the file.
#
# </details>
#
# **Why is a network in integers not exactly the pseudo-quantized one?** 7 bits for activations on x86, histogram
# ranges, weights per channel, and outputs that are rounded after each layer.

# %% [markdown]
# ## Recap
#
# - Tracing turns a network into a graph of nodes. A quantizer is a program that rewrites graphs.
# - Batch norm folds into the convolution before it: $w\gamma/\sqrt{\sigma^2+\epsilon}$ and
#   $\gamma(b-\mu)/\sqrt{\sigma^2+\epsilon}+\beta$. Fold only what nobody else uses, and before quantizing.
# - Real quantization: prepare (observers), calibrate, convert. Weights shrink to a quarter, files to a little more.
# - Rounding has no useful derivative; the straight-through estimator passes gradients where codes do not saturate.
# - Training on the grid wins back a part of what few bits cost, and more than training without the grid does.
#
# Three questions to finish, a few sentences each.

# %% [markdown]
# ### Question 1: where the bytes go (2 points)
#
# A layer `nn.Linear(800, 128)` is quantized as fx does it on x86: 8-bit weights per output channel, with a scale and
# a zero point of 8 bytes each for every output channel, and a float bias. Compute the bytes of its numbers before and
# after, and their ratio. Then do the same for `nn.Linear(8, 128)`. What do you conclude about quantizing per channel?

# %% [markdown] nbgrader={"grade_id": "why_not_a_quarter", "grade": true, "solution": true, "points": 2}
# **Model answer.** `Linear(800, 128)`: before $4 \cdot (800 \cdot 128 + 128) = 410\,112$ bytes. After: $800 \cdot 128
# = 102\,400$ for the weights, $4 \cdot 128 = 512$ for the bias, $16 \cdot 128 = 2\,048$ for scales and zero points,
# together $104\,960$: a ratio of 0.256. `Linear(8, 128)`: before $4 \cdot (1024 + 128) = 4\,608$, after $1024 + 512 +
# 2048 = 3\,584$: a ratio of 0.78. Per-channel grids cost a fixed number of bytes for each channel, so they are nearly
# free if a channel has many weights, and eat up the gain if it has few. (Smaller types for scale and zero point, or
# one grid for the tensor, help then; so does leaving such a layer in float.)
#
# *Marking: 1 point for both ratios (0.256 and 0.78; small slips in one summand do not matter). 1 point for the
# conclusion that the overhead per channel counts where channels have few weights.*

# %% [markdown]
# ### Question 2: when not to fold (2 points)
#
# Your `fold_batch_norms` leaves a norm alone if the convolution's result is used elsewhere too, or if the convolution
# is called in two places. Explain for both what would go wrong. A third case: the *norm* stands before the
# convolution, norm then conv with zero padding. Can one fold there?

# %% [markdown] nbgrader={"grade_id": "why_not_fold", "grade": true, "solution": true, "points": 2}
# **Model answer.** Folding changes what the convolution's node returns: scaled and shifted. Another user of that
# result expects the unscaled values and would compute with wrong ones. If the layer is called in two places, its
# weights are shared: both calls would get the scaled weights, but only one of them is followed by the norm (or by
# this norm). A copy of the layer for each call would solve that, for twice the memory. Norm before convolution:
# inside the picture it works (scale the weights of each *input* channel by $\gamma/\sqrt{\sigma^2+\epsilon}$, and add
# the weighted sum of the shifts to the bias). At the border it does not: the padding is 0 *after* the norm, but the
# folded bias acts as if the padded pixels had been shifted too. So one can fold exactly only without padding, or if
# the shift is 0, or by padding with the value that the norm maps to 0.
#
# *Marking: 1 point for both cases (the other user gets scaled values; shared weights change for all calls). 1 point
# for the border in the third case; "yes, into the input channels" without the border gets half a point.*

# %% [markdown]
# ### Question 3: a useful lie (2 points)
#
# The straight-through estimator gives a gradient that is not the derivative of what the network computes. Why does
# training with it still work? And why may the gradient of a saturated value not be 1: what would happen to a weight
# that lies beyond the last code of a *fixed* grid? In our `quantized_forward` the grid of the weights is not fixed.
# Does a weight ever saturate there?

# %% [markdown] nbgrader={"grade_id": "why_straight_through", "grade": true, "solution": true, "points": 2}
# **Model answer.** Seen from far enough, the staircase is the line $y = x$, with slope 1: over several steps the
# result does move with the input. The float weight remembers small updates and adds them up, until it crosses to the
# next code; so on average the pretended gradient points the right way. Beyond the last code the staircase is flat for
# good, also from afar. With a gradient of 1 a weight that "should" be larger would be pushed out further in each step
# without any effect on the output, so nothing would ever stop it, and if the wish changed, it would need many steps
# to come back into the range. In `quantized_forward` the scale of the weights is $\max|w|/(2^{n-1}-1)$ of the current
# weights, so the largest weight is exactly the last code and no weight saturates; the mask matters for the *inputs*,
# whose range is an average over batches.
#
# *Marking: 1 point for the mean slope of 1 or for the float weight that accumulates small updates. 1 point for the
# runaway of saturated weights, or for "no, because the scale follows the largest weight; inputs do saturate".*
