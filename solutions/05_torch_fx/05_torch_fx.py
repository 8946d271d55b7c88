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
import warnings
from collections import Counter

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.fx import symbolic_trace
from torch.nn import functional

from course_utils.checks import *
from course_utils.networks import accuracy, load_trained, normalize
from course_utils.pictures import COLOURS, channel_ranges, use_course_style

use_course_style()
torch.set_num_threads(1)  # one thread, so that the times of this lab can be compared

# torch says that its fx quantization will be removed, and that the quantized dtypes and TorchScript will follow. We
# know; a later section is about the successor. The messages come dozens of times, so exactly these are silenced.
warnings.filterwarnings("ignore", "torch.ao.quantization is deprecated", DeprecationWarning)
warnings.filterwarnings("ignore", "Please use quant_min and quant_max to specify the range", UserWarning)
warnings.filterwarnings("ignore", r"torch\.quantize_per_tensor, torch\.quantize_per_channel and other", UserWarning)
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


class Doubled(nn.Module):
    """Wraps a layer and doubles what it returns."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return 2 * self.layer(x)


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


NETWORKS = {"Small": Small, "Tangle": Tangle, "Crossed": Crossed}
KINDS = {"conv": nn.Conv2d, "linear": nn.Linear, "both": (nn.Conv2d, nn.Linear), "none": nn.Tanh}
KINDS["any"] = nn.modules.conv._ConvNd  # the class from which torch derives all convolutions


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
    def operations_by_hand(layers, functions, methods):
        """Of a graph made by hand. Its nodes are named a, b, c, ...; only the last one's result is used."""

        class Silent(nn.ReLU):
            def __repr__(self):
                return "no name"

        root = nn.Module()
        root.shift = nn.Parameter(torch.zeros(1))
        root.block = nn.Sequential(nn.Sequential(*[getattr(nn, name)() for name in layers]), Silent())
        calls = [("call_module", f"block.0.{i}") for i in range(len(layers))]
        calls += [("call_module", "block.1"), ("call_module", "block.0.0")]
        calls += [("call_function", getattr(torch, name)) for name in functions]
        calls += [("call_method", name) for name in methods]
        graph = torch.fx.Graph()
        x, _ = graph.placeholder("x"), graph.get_attr("shift")
        for letter, (op, target) in zip("abcdefghijklmnop", calls, strict=False):
            node = graph.create_node(op, target, (x,), {}, letter)
        graph.output(node)
        return operations(torch.fx.GraphModule(root, graph))

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

    def look(layers, functions, methods):
        given = f"a graph made by hand: layers {layers}, Silent, the first layer again; {functions}; {methods}"
        pairs = expect_returns(lambda: operations_by_hand(layers, functions, methods), rule, given=given, hint=hint)
        named = dict(pairs)
        wanted = [*layers, "Silent", layers[0], *functions, *methods]
        expect_equal(
            len(pairs),
            len(wanted),
            "placeholder, get_attr and output compute nothing and are left out; all other nodes are listed",
            given=f"{given}; a parameter that is read; results that nobody uses",
            hint="ask for the three kinds that call something; a layer that is called twice is two nodes",
        )
        expect_equal(
            [name for name, _ in pairs],
            list("abcdefghijklmnop"[: len(wanted)]),
            "the first of each pair is the node's own name",
            given="nodes named a, b, c, ...",
        )
        places = {
            "a layer is named by its class": (0, len(layers) + 2),
            "a function is named by its __name__, a method by its name": (len(layers) + 2, len(wanted)),
        }
        for part, (start, end) in places.items():
            expect_equal(
                [named["abcdefghijklmnop"[i]] for i in range(start, end)],
                wanted[start:end],
                part,
                given=given,
                hint="the node's name is any text; only its target tells what is called",
            )

    look(["ReLU", "Tanh"], ["atan2", "sigmoid"], ["log2", "abs"])
    expect_equal(
        expect_returns(lambda: operations_of("Tangle"), rule, given="Tangle", hint=hint)[3:6],
        [("twice", "Conv2d"), ("twice_1", "Conv2d"), ("twice_norm", "BatchNorm2d")],
        "a layer that is called twice is listed twice",
        given="Tangle",
        hint="go over the nodes of the graph, not over the layers of the network",
    )
    ### BEGIN HIDDEN TESTS
    g = generator()
    names = ["Sigmoid", "GELU", "Identity", "Hardtanh", "SiLU", "Flatten"], ["exp2", "relu", "add", "max", "log1p"]
    names = *names, ["exp2", "sum", "square", "log1p", "mean", "size"]
    for _ in range(4):
        look(*[[pool[i] for i in torch.randperm(len(pool), generator=g)[:3]] for pool in names])
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
    def replaced(name, seed, kinds, x):
        """Doubles what the layers of some kinds return, and tells what came of it."""
        graph = symbolic_trace(filled(NETWORKS[name](), seed))
        expected, order, made = graph(x).detach(), [], []
        before = state_of(graph.train())

        def make(layer):
            order.append([type(layer).__name__, float(layer.weight.detach().sum())])
            made.append(Doubled(layer))
            made[-1].training = len(made) % 2 == 0  # in eval mode and in training mode by turns
            return made[-1]

        new = replace_layers(graph, KINDS[kinds], make)
        states = before, state_of(graph)
        is_graph = isinstance(new, torch.fx.GraphModule) and new is not graph
        calls = [node.target for node in new.graph.nodes if node.op == "call_module"] if is_graph else []
        layers = [type(new.get_submodule(target)).__name__ for target in calls]
        modes = [layer.training for layer in made], [i % 2 == 1 for i in range(len(made))]
        stays = all(new.get_submodule(t).training for t in calls if not isinstance(new.get_submodule(t), Doubled))
        graph.eval()
        after = new.eval()(x).detach()
        with torch.no_grad():
            for p in new.parameters():
                p.zero_()
        zeroed = new(x).detach()
        return is_graph, layers, order, [expected, after, zeroed, graph(x).detach()], states, (*modes, stays)

    @probe
    def replaced_by_its_kind(name, seed, x):
        """Halves the weights of all convolutions, by a make that returns another nn.Conv2d."""
        count = 0

        def halved(layer):
            nonlocal count
            count += 1
            new = copy.deepcopy(layer)
            new.load_state_dict({name: value / 2 for name, value in layer.state_dict().items()})
            return new

        changed = replace_layers(symbolic_trace(filled(NETWORKS[name](), seed)), nn.Conv2d, halved)
        return count, changed(x).detach()

    def look(name, seed, kinds, x):
        given = f"{name}, kinds={kinds}, make=Doubled"
        rule = "every called layer of the kinds is replaced by make(layer), in blocks too; the others stay"
        hint = "a node's target is the path of its layer: get_submodule and set_submodule take it"
        is_graph, layers, order, outputs, states, modes = expect_returns(
            lambda: replaced(name, seed, kinds, x), rule, given=given, hint=hint
        )
        expect(is_graph, "the result is a new GraphModule", given=given, hint="change a copy, and return it")
        network = filled(NETWORKS[name](), seed)
        graph = symbolic_trace(network)
        calls = [graph.get_submodule(node.target) for node in graph.graph.nodes if node.op == "call_module"]
        of_kind = [layer for layer in calls if isinstance(layer, KINDS[kinds])]
        expect_equal(
            layers,
            ["Doubled" if layer in of_kind else type(layer).__name__ for layer in calls],
            "a subclass of a kind is of that kind" if kinds == "any" else rule,
            given=given,
            hint="does your comparison of types take a class, a tuple, and subclasses?" if kinds == "any" else hint,
        )
        expect_equal(
            modes[0],
            modes[1],
            "what make returns is called as it is, in its own mode",
            given=f"{given}; a network in training mode; what make returns is in eval and training mode by turns",
            hint="who changes the mode of a layer?",
        )
        expect(modes[2], "layers of other kinds stay as they are", given=given, got="one is in another mode")
        expect_unchanged(
            *states, "the graph module that comes in is not changed", hint="which of its objects does the copy share?"
        )
        expect_equal(
            len(order),
            len(set(of_kind)),
            "make is called once for each layer that is called, and never for what it returned itself",
            given=given,
            hint="list the targets, each once, before you replace anything",
        )
        expect_close(
            [total for _, total in order],
            [float(layer.weight.detach().sum()) for layer in dict.fromkeys(of_kind)],
            "make is given the layers in the order of the first calls",
            within=1e-10,  # float64: sums of at most a few thousand numbers near 1
            given=given,
            hint="go over graph_module.graph.nodes",
        )
        for target, layer in list(network.named_modules()):
            if isinstance(layer, KINDS[kinds]):
                network.set_submodule(target, Doubled(layer))
        expect_close(
            outputs[1],
            network(x).detach(),
            "the new network computes with the new layers",
            within=1e-10,  # float64, through seven layers
            given=given,
            hint="one new layer for each old one, however often it is called",
        )
        expect_close(
            outputs[3],
            outputs[0],
            "make is given the layer of the copy: training the new network leaves the old one alone",
            within=1e-10,
            given=f"{given}; then all parameters of the new network are set to 0, and the old one runs",
            hint="from which of the two graph modules does the layer come?",
        )

    x = torch.randn(2, 3, 9, 9, generator=generator(), dtype=torch.float64)
    for name, kinds in (
        ("Small", "linear"),
        ("Tangle", "conv"),
        ("Tangle", "both"),
        ("Crossed", "conv"),
        ("Crossed", "any"),
        ("Crossed", "none"),
    ):
        look(name, 0, kinds, x[:, :, :8, :8] if name == "Small" else x)

    def look_at_its_kind(name, seed):
        network = filled(NETWORKS[name](), seed)
        convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
        given = f"{name} with {len(convolutions)} convolutions; make returns an nn.Conv2d with half the weights"
        rule = "make is called once for each layer that is called, and never for what it returned itself"
        count, after = expect_returns(lambda: replaced_by_its_kind(name, seed, x), rule, given=given)
        expect_equal(count, len(convolutions), rule, given=given, hint="list the targets before you replace anything")
        with torch.no_grad():
            for p in [p for m in convolutions for p in m.parameters()]:
                p.div_(2)
        expect_close(
            after,
            network(x).detach(),
            "the new network computes with the new layers",
            within=1e-10,
            given=given,
            hint="make is called once for each layer, and its result is not replaced again",
        )

    look_at_its_kind("Tangle", 0)
    ### BEGIN HIDDEN TESTS
    seed = int(torch.randint(10**6, (1,), generator=generator()))
    for name in ("Tangle", "Crossed"):
        for kinds in KINDS:
            look(name, seed, kinds, x)
        look_at_its_kind(name, seed + 1)
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
        A new nn.Conv2d in eval mode, with bias, of conv's dtype (also where bn has another one) and settings. It shares
        no tensor with conv and bn.

    Raises:
        ValueError: if bn is in training mode (then it normalizes by the batch, which no convolution can), has no
            running statistics, or another number of channels than conv has outputs.
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
    def fused(settings, numbers, inputs, eps, dtypes=("float64", "float64")):
        """Fuses a convolution and a norm that hold given numbers, and tells what came of it."""
        conv = nn.Conv2d(**settings).to(getattr(torch, dtypes[0]))
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
        before = state_of(conv, bn)
        new = fuse_conv_bn(conv, bn)
        states = before, state_of(conv, bn)
        names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
        tensors = [t for m in (conv, bn, new) for t in m.state_dict().values()]
        places = [t.data_ptr() for t in tensors if t.numel()]
        return {
            "new": type(new).__name__ if new is not conv else "conv itself",
            "settings": [str(getattr(new, name)) for name in (*names, "padding_mode")],
            "wanted": [str(getattr(conv, name)) for name in (*names, "padding_mode")],
            "dtypes": [str(p.dtype).removeprefix("torch.") for p in new.parameters()],
            "shared": len(set(places)) < len(places),
            "training": new.training,
            "outputs": [new(x.to(new.weight.dtype)).detach().double() for x in inputs],
            "layers": [bn(conv(x.to(conv.weight.dtype)).to(bn.running_mean.dtype)).detach().double() for x in inputs],
            "states": states,
        }

    def look(settings, numbers, x, eps, dtypes=("float64", "float64")):
        given = f"Conv2d({settings}), BatchNorm2d(eps={eps}, affine={'gamma' in numbers}), {', '.join(dtypes)}"
        rule = "a missing bias counts as 0; without affine gamma is 1 and beta is 0"
        hint = "conv.bias, bn.weight and bn.bias may be None: compare with None"
        new = expect_returns(
            lambda: fused(settings, numbers, [torch.zeros_like(x), x], eps, dtypes), rule, given=given, hint=hint
        )
        expect_equal(new["new"], "Conv2d", "the result is a new nn.Conv2d with a bias", given=given)
        expect_equal(
            new["settings"],
            new["wanted"],
            "stride, padding, dilation, groups and padding_mode are conv's",
            given=given,
            hint="how does the new layer get to know all of them?",
        )
        expect_equal(
            new["dtypes"],
            [dtypes[0]] * 2,
            "the new layer has a weight and a bias, both of conv's dtype",
            given=given,
            hint="print the dtypes on the way: which number was made without saying one?",
        )
        missing = "bias" not in numbers or "gamma" not in numbers
        within = 1e-9 if "float32" not in dtypes else 1e-3  # below 40 products near 100, rounded to 53 or to 24 bits
        zero, other = new["outputs"]
        expect_close(
            zero,
            new["layers"][0],
            rule if missing else "the new bias is gamma * (b - mean) / sqrt(var + eps) + beta",
            within=within,
            given=f"{given}; an input of zeros, so that only the bias is left",
            hint="work one channel out by hand: what is scaled by gamma, and what is not?",
        )
        expect_close(
            other,
            new["layers"][1],
            "every output channel's weights get that channel's factor",
            within=within,
            given=given,
            hint="along which axis of the weight do the output channels lie, and what stands under the root?",
        )
        expect_unchanged(*new["states"], "conv and bn are not changed, and share no tensor with the result")
        expect(
            not new["shared"],
            "conv and bn are not changed, and share no tensor with the result",
            given=given,
            hint="which tensor did you hand on as it is?",
        )
        expect(not new["training"], "the new layer is in eval mode", given=given, hint="what mode is a new layer in?")

    one = {"weight": 2.0, "bias": 1.0, "mean": 5.0, "var": 3.0, "gamma": 3.0, "beta": 0.5}
    one = {name: torch.full((1, 1, 1, 1) if name == "weight" else (1,), value) for name, value in one.items()}
    facts = "w = 2, b = 1, mean = 5, var = 3, eps = 1, gamma = 3, beta = 0.5"
    settings = {"in_channels": 1, "out_channels": 1, "kernel_size": 1}
    inputs = [torch.full((1, 1, 1, 1), value) for value in (0.0, 10.0)]
    rule = "the result is a new nn.Conv2d with a bias"
    hint = "a new layer with the settings of conv, or a copy of it, and other parameters"
    got = expect_returns(lambda: fused(settings, one, inputs, 1.0), rule, given=facts, hint=hint)
    expect_equal([got["new"], len(got["dtypes"])], ["Conv2d", 2], rule, given=facts, hint=hint)
    zero, ten = (float(y) for y in got["outputs"])
    expect_close(
        ten - zero,
        30.0,
        "the new weight is gamma * w / sqrt(var + eps)",
        within=1e-12,  # float64, four operations
        given=f"{facts}: ten times the weight",
        hint="what belongs under the root, and which eps is it?",
    )
    expect_close(
        zero,
        -5.5,
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

    g = generator()
    for number, extra in enumerate(
        [
            {"kernel_size": 3, "padding": 1},
            {"kernel_size": (1, 3), "dilation": 2, "padding": (0, 2)},
            {"kernel_size": 3, "groups": 2, "stride": 2},
            {"kernel_size": 3, "groups": 4, "padding": 1, "padding_mode": "reflect"},
        ]
    ):
        bias, affine = number != 1, number != 2
        settings = {"in_channels": 4, "out_channels": 8, "bias": bias, **extra}
        x = torch.randn(2, 4, 9, 9, generator=g, dtype=torch.float64)
        look(settings, drawn(settings, bias, affine, g), x, (0.001, 0.3)[number % 2])

    # a norm that changes nothing: the numbers are the old ones, the tensors must be new
    ones, zeros = torch.ones(3).double(), torch.zeros(3).double()
    nothing = {"mean": zeros, "var": ones, "gamma": ones, "beta": zeros}
    for bias in (False, True):
        settings = {"in_channels": 2, "out_channels": 3, "kernel_size": 1, "bias": bias}
        look(settings, drawn(settings, bias, True, g) | nothing, torch.ones(1, 2, 2, 2).double(), 0.0)

    @probe
    def fuse_of(training, statistics, channels):
        bn = nn.BatchNorm2d(channels, track_running_stats=statistics).train(training)
        return type(fuse_conv_bn(nn.Conv2d(2, 3, 1).train(), bn)).__name__

    expect_domain(
        lambda case: fuse_of(*case),
        "what cannot be folded is refused with a ValueError",
        inside=[(False, True, 3)],
        outside=[(True, True, 3), (True, False, 3), (False, False, 3), *((False, True, n) for n in (1, 2, 4))],
        hint="(bn.training, has running statistics, channels of the norm); the convolution has 2 inputs and 3 outputs",
    )
    settings = {"in_channels": 2, "out_channels": 2, "kernel_size": 2}
    for dtypes in (("float32", "float32"), ("float32", "float64")):
        look(settings, drawn(settings, True, True, g), torch.ones(1, 2, 3, 3), 0.1, dtypes)
    ### BEGIN HIDDEN TESTS
    for number, extra in enumerate(
        [
            {"kernel_size": 3, "padding": "same", "dilation": 2},
            {"kernel_size": (3, 1), "stride": (1, 2), "padding": 2, "padding_mode": "circular"},
            {"kernel_size": 2, "groups": 4},
        ]
    ):
        for bias in (True, False):
            for affine in (True, False):
                settings = {"in_channels": 4, "out_channels": 8, "bias": bias, **extra}
                x = torch.randn(2, 4, 9, 9, generator=g, dtype=torch.float64)
                look(settings, drawn(settings, bias, affine, g), x, (0.002, 0.2, 1.0)[number])
    settings = {"in_channels": 2, "out_channels": 2, "kernel_size": 2, "bias": False}
    look(settings, drawn(settings, False, False, g), torch.ones(1, 2, 3, 3), 0.1, ("float32", "float32"))
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
    elsewhere. All others stay.

    Args:
        graph_module: torch.fx.GraphModule in eval mode, as symbolic_trace returns it: each layer has one target in it.
            Its norms are called with their input as in norm(x). It is not changed, nor are its layers.
        fuse: function that takes an nn.Conv2d and an nn.BatchNorm2d and returns the layer that replaces both.

    Returns:
        A new torch.fx.GraphModule: fused layers under the convolutions' names; the absorbed norms' nodes are gone,
        and so are layers that no node calls any more.
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
    def folded(expression, seed, x):
        """Folds a network whose forward is an expression, or a class of the lab by its name."""

        class Pair(nn.Module):
            """Stands for the fused layer: simply both, one after the other."""

            def __init__(self, conv, bn):
                super().__init__()
                self.pair = [conv, bn]  # in a list, so that they do not count as layers of the network

            def forward(self, x):
                return self.pair[1](self.pair[0](x))

        class Network(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv, self.other, self.third, self.conv2 = (nn.Conv2d(3, 3, 1) for _ in range(4))
                self.norm, self.norm2 = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
                self.block = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1))
                self.deep = nn.Sequential(nn.Sequential(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))))
                self.up, self.linear = nn.ConvTranspose2d(3, 3, 1), nn.Linear(9, 9)

            def forward(self, x):
                return eval(expression, dict(self.named_children()) | {"x": x})

        def data(output):
            return [t.detach() for t in (output if isinstance(output, tuple) else (output,))]

        network = filled(NETWORKS.get(expression, Network)(), seed)
        graph = symbolic_trace(network)
        output, pairs, before = graph(x), [], state_of(graph)

        def fuse(conv, bn):
            pairs.append([type(conv).__name__, type(bn).__name__])
            kept = copy.deepcopy(conv), copy.deepcopy(bn)
            with torch.no_grad():
                for p in conv.parameters():  # without manners: ruins what it is handed
                    p.zero_()
            return Pair(*kept)

        new = fold_batch_norms(graph, fuse)
        states = before, state_of(graph)
        calls = [n.target for n in new.graph.nodes if n.op == "call_module"]
        right = all(pair == ["Conv2d", "BatchNorm2d"] for pair in pairs)
        return {
            "new": isinstance(new, torch.fx.GraphModule) and new is not graph,
            "pairs": pairs,
            "placed": [target for target in calls if isinstance(new.get_submodule(target), Pair)],
            "called": sum(isinstance(new.get_submodule(target), nn.BatchNorm2d) for target in calls),
            "layers": sorted(target for target, m in new.named_modules() if isinstance(m, nn.BatchNorm2d)),
            "outputs": [data(output), data(new(x)) if right else None, data(graph(x))],
            "states": states,
        }

    def look(expression, placed, rule, hint, norms=None, seed=0):
        """placed: the convolutions that are folded; norms: the layers of norms that are left, None if not looked at."""
        given = expression
        got = expect_returns(lambda: folded(expression, seed, x), rule, given=given, hint=hint)
        expect(got["new"], "the result is a new GraphModule", given=given, hint="change a copy, and return it")
        expect(
            all(pair == ["Conv2d", "BatchNorm2d"] for pair in got["pairs"]),
            "fuse is called with the convolution and its norm",
            given=given,
            got=got["pairs"],
            hint="which of the two comes first, and of which class is each?",
        )
        expect(set(got["placed"]) == set(placed), rule, given=given, expected=placed, got=got["placed"], hint=hint)
        kept = len(got["placed"]) and got["called"] + len(got["pairs"])
        expect(
            not kept or kept == expression.count("norm") or expression in NETWORKS or "deep" in expression,
            "the absorbed norms' nodes are gone",
            given=given,
            got=f"{got['called']} calls of norms, after {len(got['pairs'])} calls of fuse",
            hint="what becomes of the norm's node?",
        )
        expect(
            norms is None or got["layers"] == norms,
            "the absorbed norms are no longer layers of the network, and the others stay",
            given=given,
            expected=norms,
            got=got["layers"],
            hint="which layers does no node call any more, and who takes them away?",
        )
        expect_close(
            got["outputs"][1],
            got["outputs"][0],
            "the folded network computes what the network computed",
            within=1e-9,  # float64, through a few layers
            given=given,
            hint="where do the norm's users get their input now, and does the program know?",
        )
        rule = (
            "the graph module that comes in is not changed, nor are its layers, whatever fuse does with its arguments"
        )
        expect_unchanged(*got["states"], rule, hint="from which graph module do fuse's arguments come?")
        expect_close(got["outputs"][2], got["outputs"][0], rule, within=0, given=given, hint="does it still run?")

    x = torch.randn(3, 3, 9, 9, generator=generator(), dtype=torch.float64)
    right_after = "a norm right after a convolution is folded into it"
    what_it_is = "look at the node behind the norm's input, and at the class of its layer"
    twice = "a convolution that is called twice is not folded"
    elsewhere = "a convolution whose result is used elsewhere too is not folded"
    stays = "a norm that is not folded stays"
    both = "a norm that is called twice can be folded into two convolutions"
    cases = [
        ("norm(conv(x))", ["conv"], right_after, "find the norm's node, and from it the convolution's", []),
        ("norm2(other(norm(conv(x)).relu()))", ["conv", "other"], right_after, "go through all nodes", []),
        ("deep(x)", ["deep.0.0.0"], "every norm that can be folded is folded, in blocks too", "how deep?", []),
        ("norm(block(x))", ["block.0"], "every norm that can be folded is folded, in blocks too", "two places", []),
        ("(lambda y: y + y.tanh())(norm(conv(x)))", ["conv"], right_after, "who uses the norm does not matter", []),
        ("(lambda y, z: norm(y) + z)(conv(x), other(x))", ["conv"], right_after, "what is the norm called with?", []),
        ("norm(conv(x).relu())", [], stays, what_it_is, ["norm"]),
        ("norm(x) + conv(x)", [], stays, what_it_is, ["norm"]),
        ("norm(up(x))", [], "only an nn.Conv2d absorbs a norm", what_it_is, ["norm"]),
        ("norm(linear(x))", [], "only an nn.Conv2d absorbs a norm", what_it_is, ["norm"]),
        ("norm(conv(conv(x)))", [], twice, "count the calls of a layer in the whole graph", ["norm"]),
        ("norm(conv(x)) + conv(other(x)).tanh()", [], twice, "count the calls in the whole graph", ["norm"]),
        ("(lambda y: norm(y) + y)(conv(x))", [], elsewhere, "how many users has the convolution's node?", ["norm"]),
        ("(lambda y: (norm(y), y))(conv(x))", [], elsewhere, "the output is a user, too", ["norm"]),
        ("norm(conv(x)) * conv.weight", [], "a convolution whose weight is read elsewhere is not folded",
         "a get_attr node's target begins with the layer's path and a dot", ["norm"]),
        ("norm(conv(x)) * conv.bias.mean()", [], "a convolution whose weight is read elsewhere is not folded",
         "nor one whose bias is", ["norm"]),
        ("norm(conv(x)) * conv2.weight.mean()", ["conv"], "only who reads its own weight or bias keeps a convolution",
         "compare whole names, up to the dot", []),
        ("norm(other(norm(conv(x)).abs()))", ["conv", "other"], both, "erase nodes; layers go at the end", []),
        ("norm(other(norm(x)))", ["other"], both, "the norm's other call stays", ["norm"]),
        ("Tangle", ["stem.0", "last"], right_after, "stem.0 and stem.1; last and last_norm",
         ["alone", "branch_norm", "twice_norm"]),
    ]  # fmt: skip
    for case in cases:
        look(*case)
    ### BEGIN HIDDEN TESTS
    seed = 1 + int(torch.randint(10**6, (1,), generator=generator()))
    for case in [
        *cases[1::4],
        ("norm2(norm(conv(x)))", ["conv"], stays, "the second norm's input is a norm", ["norm2"]),
        ("norm(third(x)) + norm2(other(conv(x)))", ["third", "other"], right_after, what_it_is, []),
        ("(lambda y: norm(y) - norm2(y))(third(x))", [], elsewhere, "two norms are two users", ["norm", "norm2"]),
        ("third(norm(third(x)).abs())", [], twice, "count the calls in the whole graph", ["norm"]),
        ("norm(other(x)) + third(x) * other.bias.view(1, 3, 1, 1)", [], "a convolution whose weight is read elsewhere"
         " is not folded", "its bias as well", ["norm"]),
    ]:  # fmt: skip
        look(*case, seed=seed)
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

    @probe
    def quantized(seed, batches, x):
        torch.backends.quantized.engine = ENGINE
        model = filled(Small(), seed).float()
        attributes = [sorted(vars(m)) for m in model.modules()]
        before = state_of(model, batches)
        new = quantize_with_fx(model, batches)
        states = before, state_of(model, batches)
        conv = getattr(new, "conv", None)
        weight = conv.weight() if conv is not None and callable(getattr(conv, "weight", None)) else None
        steps = [n.args[1:3] for n in new.graph.nodes if n.target is torch.quantize_per_tensor]
        return {
            "layers": [
                type(m).__name__ for m in new.modules() if "inear" in type(m).__name__ or "Conv" in str(type(m))
            ],
            "observers": sum("Observer" in type(m).__name__ for m in new.modules()),
            "dtype": None if weight is None else str(weight.dtype),
            "scheme": None if weight is None else str(weight.qscheme()),
            "weight": None if weight is None else weight.dequantize(),
            "input": [float(getattr(new, part.target)) for part in steps[0]] if steps else None,
            "output": new(x).detach(),
            "states": states,
            "attributes": attributes == [sorted(vars(m)) for m in model.modules()],
        }

    def look(seed, batches, given):
        x = torch.cat(batches)
        rule = "after convert_fx every convolution and linear layer is a quantized one, and no observer is left"
        hint = "three steps in their order; which of the three networks is the result?"
        got = expect_returns(lambda: quantized(seed, batches, x), rule, given=given, hint=hint)
        told = f"layers {got['layers']}, {got['observers']} observers"
        fits = got["observers"] == 0 and got["dtype"] == "torch.qint8" and "Linear" not in got["layers"][:1]
        expect(fits, rule, given=given, got=told, hint=hint)
        # The grid of the input covers what the batches cover, with 255 steps, or with 127 where the engine keeps one
        # bit in reserve. Evenly spread values: no range much shorter than the whole one has a smaller error
        low, high = min(float(x.min()), 0), max(float(x.max()), 0)
        step, zero_point = got["input"] or (math.nan, math.nan)
        least, most = 0.9 * (high - low) / 255, 1.1 * (high - low) / 127
        ends = [abs((top - zero_point) * step - high) <= 0.1 * (high - low) for top in (127, 255)]
        expect(
            least <= step <= most and abs(zero_point * step + low) <= 0.1 * (high - low) and any(ends),
            "calibration runs every batch through the prepared network",
            given=f"{given}: values from {low:.2f} to {high:.2f}",
            expected=f"a step between {least:.4f} and {most:.4f}, and 0 at code {-low / step:.0f}",
            got=f"a step of {step:.6g}, and 0 at code {zero_point:.0f}",
            hint="which network has the observers, and which batches do they see?",
        )
        expect_unchanged(*got["states"], "the model that comes in is not changed", hint="what do you hand over?")
        expect(
            got["attributes"],
            "the model that comes in is not changed",
            given=given,
            got="layers of the model have new attributes, such as qconfig",
            hint="prepare_fx writes into the layers that it is handed: what should it be handed?",
        )
        scheme = str(get_default_qconfig_mapping(ENGINE).global_qconfig.weight().qscheme)
        expect_equal(
            got["scheme"].split("_affine")[0].split("_symmetric")[0],
            scheme.split("_affine")[0].split("_symmetric")[0],
            "the grids are those of get_default_qconfig_mapping(ENGINE)",
            given=ENGINE,
            hint="which mapping is it, and for which engine?",
        )
        model = filled(Small(), seed).float()
        with torch.no_grad():
            weight, exact = model.conv.weight.detach(), model(x)
        expect_close(
            got["weight"],
            weight,
            "the quantized weights are those of the model, each within half a step",
            within=0.51 * float(weight.abs().max()) / 127,  # a channel's step is not larger than the tensor's
            given=f"{given}: first layer",
            hint="no new network, no training",
        )
        noise = float((got["output"] - exact).square().mean() / exact.square().mean())
        # each of three layers rounds its weights and its input to at least 7 bits of the range: 1e-4 of the power each,
        # some thirty times as much where the values are much smaller than the range
        expect(
            noise < 0.01,
            "the quantized network computes nearly what the model computes",
            given=given,
            got=noise,
            hint="calibrate with the batches themselves, on the prepared network",
        )

    g = generator()
    down, middle, up = (torch.rand(16, 3, 8, 8, generator=g) * 4 + shift for shift in (-4, -2, 0))
    look(
        0,
        [torch.cat([middle[:1], down, up])],
        "one batch, the smallest values in its second image, the largest in its last",
    )
    look(0, [middle], "one batch")
    for batches, given in (
        ([down, middle, up], "three batches, the smallest values in the first, the largest in the last"),
        ([middle, down, up], "three batches, the smallest values in the second, the largest in the last"),
        ([up, down, middle], "three batches, the largest values in the first, the smallest in the second"),
        ([middle] * 40 + [down, up], "42 batches, the smallest values in the last but one, the largest in the last"),
    ):
        look(0, batches, given)

    @probe
    def quantize_of(training, count):
        model = filled(Small(), 0).float().train(training)
        quantize_with_fx(model, [torch.rand(2, 3, 8, 8)] * count)

    expect_domain(
        lambda case: quantize_of(*case),
        "a model in training mode, or no batch, is refused with a ValueError",
        inside=[(False, 1)],
        outside=[(True, 2), (False, 0), (True, 0)],
        hint="(whether the model is in training mode, number of batches)",
    )
    ### BEGIN HIDDEN TESTS
    seed = int(torch.randint(10**6, (1,), generator=g))
    for order in ([0, 1, 2, 1], [1, 0, 1, 2], [2, 1, 0, 1], [1, 2, 1, 0]):
        look(seed, [(down, middle, up)[i] * 0.7 for i in order], f"four batches, in the order {order}")
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

        x: float tensor of any shape. It is not changed.
        scale: positive number, the step. Divide by it; do not multiply by 1 / scale, which is rounded itself.
        zero_point: whole number, the code of 0.
        quant_min, quant_max: whole numbers, the smallest and the largest code.

    and returns a tensor of x's shape and dtype: scale * (code - zero_point), with the code round(x / scale) +
    zero_point, clamped to quant_min .. quant_max. Halves are rounded to the even number, as torch.round does. The
    gradient with respect to x is the incoming one, a tensor of finite numbers, where the code, before it was clamped,
    lies in quant_min .. quant_max, and 0 elsewhere. The incoming one is not changed: others may need it. The other
    arguments have no gradient. Several calls may come before the first backward pass: each keeps what its own needs.
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
        leaf, before = x.clone().requires_grad_(), incoming.clone()
        y = FakeQuantize.apply(leaf, *grid)
        result = y.detach().clone()
        if y.requires_grad:
            y.backward(incoming)
        unchanged = torch.equal(leaf.detach(), x), torch.equal(incoming, before)
        return result, torch.full_like(x, math.nan) if leaf.grad is None else leaf.grad, unchanged

    @probe
    def gradients_of_two(first, second, *grid):
        """Two calls before any gradient is asked for."""
        leaves = [x.clone().requires_grad_() for x in (first, second)]
        results = [FakeQuantize.apply(leaf, *grid) for leaf in leaves]
        for y in results:
            y.sum().backward()
        return [leaf.grad for leaf in leaves]

    def look(x, incoming, result, inside, grid, within, given):
        rule = "FakeQuantize.apply runs, forward and backward"
        hint = "how many arguments has forward, and how many gradients does backward return?"
        y, gradient, kept = expect_returns(lambda: quantized_with_gradient(x, incoming, *grid), rule, hint=hint)
        expect_type(y, x.dtype, "the result has x's shape and dtype", shape=x.shape, given=given)
        expect_close(
            y,
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
        expect(kept[0], "x itself is not changed", given=given, hint="avoid methods that end in _")
        rule = "the incoming gradient itself is not changed"
        expect(kept[1], rule, given=given, hint="an assignment to a part of a tensor changes it, too")

    x = torch.tensor([-2.2, -1.26, -1.25, -1.1, -0.3, 0.0, 0.2, 0.6, 0.9, 1.7, 2.5, 2.745, 2.75, 3.1, 1e12, -1e12])
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

    def look_at_all(grid, shape, dtype, g):
        """Whole steps plus a part that is never near a half: what is nearest does not hang on a rounding error."""
        scale, zero_point, quant_min, quant_max = grid
        steps = torch.randint(quant_min - zero_point - 4, quant_max - zero_point + 5, shape, generator=g)
        part = torch.rand(shape, generator=g) * 0.9 - 0.45
        x = ((steps + part).double() * scale).to(dtype)
        incoming = torch.randn(shape, generator=g, dtype=torch.float64).to(dtype)
        if len(shape) == 2:  # not contiguous
            steps, x, incoming = steps.T, x.T, incoming.T
        code = steps + zero_point
        inside = (code >= quant_min) & (code <= quant_max)
        y = (code.clamp(quant_min, quant_max) - zero_point).double() * scale
        # codes below 300, scale and product rounded to 24 or 53 bits
        within = scale * 300 * (2.0**-22 if dtype == torch.float32 else 2.0**-51)
        given = f"scale={scale:.4g}, zero_point={zero_point}, codes {quant_min} .. {quant_max}, {dtype}, shape {shape}"
        look(x, incoming, y, inside, grid, within, given)

    g = generator()
    shapes, dtypes = [(4, 60), (), (0,), (2, 3, 4)], (torch.float32, torch.float64)
    for grid in ((0.1, 0, -7, 7), (1 / 3, 0, 0, 15), (0.02, 128, 0, 255)):
        for shape in shapes:
            for dtype in dtypes:
                look_at_all(grid, shape, dtype, g)
    expect_equal(
        gradients_of_two(torch.tensor([0.0, 9.0]), torch.tensor([9.0, 0.0]), 0.5, 2, 0, 7),
        [torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])],
        "each call keeps what its own backward needs",
        given="x = [0, 9] and x = [9, 0], both through FakeQuantize, and then both gradients",
        hint="where is the mask kept between forward and backward?",
    )

    def look_at_division(scale):
        # Values beside a tie: there a quotient that was rounded twice gets another code. The quotient itself may be
        # taken in float32 or in float64, with the scale in either: all of these are divisions
        rounded_scale = torch.tensor(scale).double()
        x = ((torch.arange(255) + 0.5) * rounded_scale).float()
        y, _, _ = quantized_with_gradient(x, torch.ones_like(x), scale, 0, 0, 255)
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
    ):
        for shape in [(20, 50), *shapes]:
            for dtype in dtypes:
                look_at_all(grid, shape, dtype, g)
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
#   $\operatorname{round}(-\text{low} / \text{scale})$.
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
        x: float tensor, input of the layer.
        low, high: numbers, the range of the input.
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

    @probe
    def run_layer(kind, settings, weight, bias, x, low, high, num_bits):
        layer = {"Linear": nn.Linear, "Conv2d": nn.Conv2d, "ConvTranspose2d": nn.ConvTranspose2d}[kind](**settings)
        layer = layer.to(x.dtype)
        with torch.no_grad():
            layer.weight.copy_(weight)
            if bias is not None:
                layer.bias.copy_(bias)
        calls = []

        def stand_in(values, scale, zero_point, quant_min, quant_max):
            """Triples a weight and doubles an input, and notes how it was called."""
            is_weight = values.shape == layer.weight.shape and bool((values == layer.weight).all())
            types = [type(number).__name__ for number in (scale, zero_point, quant_min, quant_max)]
            calls.append([is_weight, float(scale), zero_point, quant_min, quant_max, values.detach().clone(), types])
            return values * (3 if is_weight else 2)

        leaf = x.clone().requires_grad_()
        before = state_of(layer, leaf)
        y = quantized_forward(layer, leaf, low, high, num_bits, stand_in)
        states = before, state_of(layer, leaf)
        if y.requires_grad:
            y.sum().backward()
        return calls, y.detach(), [leaf.grad, layer.weight.grad, None if bias is None else layer.bias.grad], states

    def run_by_hand(kind, settings, weight, bias, x):
        leaves = [t if t is None else t.clone().requires_grad_() for t in (x, weight, bias)]
        if kind == "Linear":
            y = functional.linear(2 * leaves[0], 3 * leaves[1], leaves[2])
        else:
            rest = {k: v for k, v in settings.items() if k in ("stride", "padding", "dilation", "groups")}
            y = functional.conv2d(2 * leaves[0], 3 * leaves[1], leaves[2], **rest)
        y.sum().backward()
        return y.detach(), [None if t is None else t.grad for t in leaves]

    def look(kind, settings, weight, bias, x, low, high, num_bits, grids):
        """grids: scale of the weight, then scale and zero point of the input."""
        given = f"{kind}({settings}), largest weight {float(weight.abs().max()):.6g}, range [{low}, {high}]"
        given = f"{given}, {num_bits} bits, {str(x.dtype).removeprefix('torch.')}"
        rule = "fake_quantize is called once for the input and once for the weight"
        calls, output, gradients, states = expect_returns(
            lambda: run_layer(kind, settings, weight, bias, x, low, high, num_bits),
            "every layer of the two kinds gives an output, for every range and for 2 to 8 bits",
            given=given,
            hint="which settings does your call hand on, and what do you refuse?",
        )
        hint = "which tensor goes in as it is, and what comes of each grid without width?"
        expect_equal(sorted(call[0] for call in calls), [False, True], rule, given=given, hint=hint)
        of_weight, of_input = (next(call for call in calls if call[0] is which) for which in (True, False))
        expect_equal(of_input[5], x, rule, given=given, hint="the input itself goes in, not something clamped")
        expect(
            all(call[6] == ["float", "int", "int", "int"] for call in calls),
            "scale, zero point and codes are plain Python numbers: a float and three ints",
            given=given,
            got=[call[6] for call in calls],
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
            within=grids[0] * 2**-20,  # it may have been float32 on its way
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
        expected, wanted = run_by_hand(kind, settings, weight, bias, x)
        within = 1e-10 if x.dtype == torch.float64 else 1e-3  # sums of at most 36 products near 10
        expect_close(
            output,
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
        expect_unchanged(*states, "layer and x are not changed", hint="the layer is only read: values, mode, gradients")

    def draw(*shape, dtype=torch.float64):
        return torch.randn(shape, generator=g, dtype=dtype)

    def look_at_layer(extra, low, high, num_bits, grid, with_bias, dtype=torch.float64):
        settings = {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "bias": with_bias, **extra}
        kernel = settings["kernel_size"] if isinstance(settings["kernel_size"], tuple) else (3, 3)
        weight, x = draw(6, 4 // settings.get("groups", 1), *kernel, dtype=dtype), draw(2, 4, 7, 8, dtype=dtype)
        weight[3, 0, 0, 0] = -7.0  # the largest magnitude is a negative weight's
        bias = draw(6, dtype=dtype) if with_bias else None
        top = 2 ** (num_bits - 1) - 1
        look("Conv2d", settings, weight, bias, x, low, high, num_bits, [7.0 / top, *grid])

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

    rule = "num_bits outside 2 .. 8 and low above high are refused with a ValueError"
    expect_domain(
        lambda case: run_layer("Linear", linear, weight, bias, x, *case)[1],
        rule,
        inside=[(0, 1, 2), (0, 1, 8), (1.0, 1.0, 4)],
        outside=[(0, 1, 1), (0, 1, 9), (2.0, 1.0, 4), (-1.0, -2.0, 4)],
        hint="(low, high, num_bits): ask before anything is widened",
    )
    expect_raises(
        TypeError,
        lambda: run_layer("ConvTranspose2d", {"in_channels": 2, "out_channels": 2, "kernel_size": 1},
                          torch.ones(2, 2, 1, 1), bias, torch.ones(1, 2, 3, 3), 0, 1, 4),
        "a layer of another kind is refused with a TypeError",
        given="nn.ConvTranspose2d",
        hint="ask for the layer's class, subclasses included",
    )  # fmt: skip

    @probe
    def scales_of_passes(num_bits, weights):
        """The scales of the weight in passes of one layer, whose weight changes in between."""
        layer, scales = nn.Linear(1, 1), []
        before = sorted(vars(layer))

        def stand_in(values, scale, zero_point, quant_min, quant_max):
            if quant_min < 0:  # the weight's
                scales.append(float(scale))
            return values

        for weight in weights:
            with torch.no_grad():
                layer.weight.fill_(weight)
            quantized_forward(layer, torch.ones(1, 1), 0, 1, num_bits, stand_in)
        return scales, before == sorted(vars(layer))

    rule = "the weight's scale is taken from the current weights in every pass"
    scales, clean = expect_returns(lambda: scales_of_passes(4, [7, 14, 0, 3.5]), rule, given="four passes of one layer")
    expect_close(
        scales,
        [1.0, 2.0, 1.0, 0.5],
        rule,
        within=1e-6,
        given="four passes of one layer with the weights 7, 14, 0, 3.5, 4 bits",
        hint="what is kept from one pass to the next?",
    )
    expect(clean, "layer and x are not changed", got="the layer has new attributes", hint="the layer is only read")

    @probe
    def run_subclasses():
        """A class of one's own, derived from each of the two."""
        told = []
        for kind, settings, x in (
            (nn.Linear, (2, 3), torch.ones(1, 2)),
            (nn.Conv2d, (2, 3, 1), torch.ones(1, 2, 4, 4)),
        ):
            layer = type("Mine", (kind,), {})(*settings)
            y = quantized_forward(layer, x, 0, 1, 4, lambda values, *_: values)
            told.append(float((y - layer(x)).abs().max().detach()))
        return told

    rule = "classes derived from nn.Linear and nn.Conv2d are taken as well"
    told = expect_returns(run_subclasses, rule, given="class Mine(nn.Linear), class Mine(nn.Conv2d)")
    expect_close(told, [0.0, 0.0], rule, within=1e-5, hint="does your comparison of types take subclasses?")
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
# small batches stay in the processor's cache
shares = {name: accuracy(network, images, labels, batch_size=50) for name, network in networks.items()}
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
    for (what, size), colour in zip(part.items(), ("blue", "green", "orange", "vermillion"), strict=True):
        ax.barh(i, size / 1000, left=left / 1000, color=COLOURS[colour], label=what if i == 1 else None)
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
    results["PTQ"].append(100 * accuracy(network, images, labels, batch_size=50))
    losses.append(train(network, g))
    results["QAT"].append(100 * accuracy(network, images, labels, batch_size=50))

    g.set_state(state)  # the control sees the very same training batches
    longer = copy.deepcopy(model)
    train(longer, g)
    results["float, then PTQ"].append(
        100 * accuracy(on_grids(longer, BITS, calibration), images, labels, batch_size=50)
    )
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
