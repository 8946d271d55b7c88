"""Networks from plain data: what a check draws anew for every answer, so that no answer can know it by heart.

A check describes a network by its layers and a line of Python, and so can make the same one in two processes: beside
an answer, and where the answer's results are judged.

Stands on torch.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx, nn
from torch.fx.proxy import GraphAppendingTracer


class Wired(nn.Module):
    """A network of given layers, whose ``forward`` is an expression.

    Args:
        layers: the name of a layer in the expression -> its path, its class and its settings, such as
            ``("stem.0", "Conv2d", {"in_channels": 3, ...})``. The class is one of `torch.nn`, or a class of that name
            derived from one, as in ``"Mine(Conv2d)"`` or ``"Mine(Yours(Conv2d))"``; tracing makes one node of it.
        program: an expression of ``x``, the layers' names, ``torch``, ``functional`` and ``operator``.
    """

    def __init__(self, layers: Mapping[str, tuple[str, str, Mapping[str, Any]]], program: str):
        super().__init__()
        self.program = compile(program, "<program>", "eval")
        self.paths = {name: path for name, (path, _, _) in layers.items()}
        for path, kind, settings in layers.values():
            *blocks, last = path.split(".")
            parent: nn.Module = self
            for block in blocks:
                if block not in parent._modules:
                    parent.add_module(block, nn.Module())
                parent = parent._modules[block]
            parent.add_module(last, layer_class(kind)(**settings))

    def forward(self, x):  # annotations would stand in the traced program
        return self.computed(x, {name: self.get_submodule(path) for name, path in self.paths.items()})

    def computed(self, x, named):
        """The value of the program, with these layers."""
        tools = {"torch": torch, "functional": nn.functional, "operator": operator}
        return eval(self.program, tools | named | {"x": x})


def layer_class(kind: str) -> type[nn.Module]:
    """A class of `torch.nn`, or one derived from it: see `Wired`."""
    *derived, base = kind.rstrip(")").split("(")
    found = getattr(nn, base)
    for name in reversed(derived):
        found = type(name, (found,), {"__module__": "torch.nn"})  # of such layers tracing makes one node
    return found


def traced(network: nn.Module) -> fx.GraphModule:
    """What `torch.fx.symbolic_trace` makes of a network, of a `Wired` one in a third of the time.

    While torch traces, it puts another ``__call__`` on `nn.Module`, and so empties Python's tables of all its classes.
    In a `Wired` network it is known where layers stand, so proxies can stand there by themselves.
    """
    if not isinstance(network, Wired):
        return fx.symbolic_trace(network)
    graph = fx.Graph(tracer_cls=fx.Tracer)
    tracer = GraphAppendingTracer(graph)
    x = fx.Proxy(graph.placeholder("x"), tracer)
    result = network.computed(x, {name: _Called(tracer, network, path) for name, path in network.paths.items()})
    graph.output(tracer.create_arg(result))
    return fx.GraphModule(network, graph, type(network).__name__)


class _Called:
    """Stands for a layer in `traced`: writes down that it is called, or what of it is read."""

    def __init__(self, tracer: fx.proxy.TracerBase, network: nn.Module, path: str):
        self._tracer, self._network, self._path = tracer, network, path

    def __call__(self, *args: Any, **kwargs: Any) -> fx.Proxy:
        called = self._tracer.create_proxy("call_module", self._path, args, kwargs)
        kind = type(self._network.get_submodule(self._path))
        called.node.meta["nn_module_stack"] = {self._path: (self._path, kind)}
        return called

    def __getattr__(self, name: str) -> fx.Proxy:
        return self._tracer.create_proxy("get_attr", f"{self._path}.{name}", (), {})


def lived_in(network: nn.Module, seed: int) -> nn.Module:
    """The network with what others leave on its layers: hooks, gradients, frozen parameters, a note of their own.

    The hooks do nothing. Which layers and parameters have which of these is drawn from ``seed``.
    """
    g = torch.Generator().manual_seed(seed)

    def drawn() -> bool:
        return bool(torch.randint(2, (1,), generator=g))

    for number, layer in enumerate(network.modules()):
        if drawn():
            layer.register_forward_hook(lambda *_: None)
        if drawn():
            layer.register_forward_pre_hook(lambda *_: None)
        if number and drawn():
            layer.note_of_others = number
    for parameter in network.parameters():
        parameter.requires_grad_(drawn())
        if parameter.requires_grad and drawn():
            parameter.grad = torch.rand(parameter.shape, generator=g, dtype=torch.float64).to(parameter.dtype)
    return network


def draw_paths(names: str | list[str], g: torch.Generator) -> dict[str, str]:
    """A path for each of some layers, of one to three parts; none begins with another one."""
    numbers = torch.randperm(900, generator=g)[: 3 * len(names)].view(-1, 3).tolist()
    parts = [["mod", "b", "_q"][n % 3] + str(n) if n % 4 else str(n) for row in numbers for n in row]
    depths = torch.randint(1, 4, (len(names),), generator=g).tolist()
    return {
        name: ".".join(parts[3 * i : 3 * i + depth]) for i, (name, depth) in enumerate(zip(names, depths, strict=True))
    }
