"""Makes the recreated model: a copy of the reference model in which chosen layers are replaced (thesis 4.1).

The network is traced by torch.fx; batch norms and ReLUs are merged in its graph. Ranges of activations come from
running the reference model on calibration samples (4.2.1); on one of them the trace is checked against the model.
"""

from __future__ import annotations

import copy
import itertools
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from course_utils.profiler.errors import ProfilerError
from course_utils.profiler.layers import FormatLayer, IntegerAdd, IntegerAveragePool, IntegerLayer, Range
from course_utils.profiler.options import KINDS, RANGES, Choice, Options
from course_utils.quantization.observers import Observer

__all__ = ["Recreation", "layers_of", "recreate"]

ADDITIONS = (operator.add, torch.add, "add")
RELU, RELU6 = (functional.relu, torch.relu, "relu"), (functional.relu6,)
FLATTEN = (torch.flatten, torch.reshape, "flatten", "reshape", "view")
POOLS = (functional.adaptive_avg_pool2d, torch.mean, "mean")
CONVOLUTIONS = tuple(getattr(functional, f"conv{way}{n}d") for way in ("", "_transpose") for n in (1, 2, 3))
PRODUCTS = (functional.linear, torch.matmul, operator.matmul, "matmul")


@dataclass
class Recreation:
    """A reference model, its recreation, and what stands for what.

    Attributes:
        reference, recreated: graph modules in eval mode; the model that was handed over is neither, and unchanged.
        replaced: node of ``reference`` -> the options of what stands for it in ``recreated``.
        stands_for: node of ``recreated`` -> the node of ``reference`` whose output it must match: where a batch norm or
            a ReLU was merged, the last of those.
        left: node -> why it, though chosen, was not replaced, or what was not merged into it. A kind that was chosen
            stands there, too, if the network has no layer of it.
    """

    reference: fx.GraphModule
    recreated: fx.GraphModule
    replaced: dict[str, Options] = field(default_factory=dict)
    stands_for: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)


def layers_of(model: nn.Module) -> dict[str, list[str]]:
    """Kind -> names of the layers that can be replaced, in the order in which the network calls them.

    Raises:
        ProfilerError: if torch.fx cannot trace the model.
    """
    graph = _traced(model)
    return {kind: [node.name for node in nodes] for kind, nodes in by_kind(graph).items()}


def recreate(
    model: nn.Module,
    choices: Iterable[Choice],
    calibration: Iterable[Tensor],
    *,
    ranges: str = "min_max",
    observers: dict[str, Observer] | None = None,
) -> Recreation:
    """Replaces the chosen layers.

    Args:
        model: in eval mode; it is not changed.
        choices: of layers chosen twice, the last one counts.
        calibration: batches that the model takes; all are used.
        ranges: how activations' ranges are chosen from them, one of `RANGES`.
        observers: what calls before saw of activations, of the same model with the same samples; what is missing there
            is observed and added.

    Raises:
        ProfilerError: if the model is in training mode, cannot be traced or is no classifier, a choice names no layer,
            there is no calibration data, or a weight or an activation is not finite; the message names the layer.
    """
    choices, calibration = tuple(choices), iter(calibration)
    if training := [name or "the model" for name, module in model.named_modules() if module.training]:
        raise ProfilerError(f"{training[0]} is in training mode; call model.eval() first")
    if narrow := {str(p.dtype)[6:] for p in model.parameters()} - {"float32", "float64"}:
        raise ProfilerError(f"the model computes in {min(narrow)}; call model.float() first")
    if ranges not in RANGES:
        raise ProfilerError(f"ranges is one of {', '.join(RANGES)}, not {ranges!r}")
    if (first := next(calibration, None)) is None:
        raise ProfilerError("calibration needs at least one batch")
    result = Recreation(_traced(model), _traced(model))
    result.left = _overlooked(result.reference, choices)
    dimensions = _dimensions(model, result.reference, first[:1])
    nodes = {node.name: node for node in result.recreated.graph.nodes}
    chosen = chosen_layers(result.reference, choices)
    plans = [_plan(result, nodes[name], options, dimensions) for name, options in chosen.items()]
    plans = [plan for plan in plans if plan is not None]
    for plan in plans:
        plan.inputs = [_source(nodes[name], result.recreated, plans).name for name in plan.inputs]
    wanted = {name for plan in plans if plan.options.quantized for name in (*plan.inputs, plan.last)}
    observers = {} if observers is None else observers
    if missing := wanted - observers.keys():
        observers |= _observe(result.reference, itertools.chain([first], calibration), missing)

    merged = {plan.last: plan.relu for plan in plans if plan.relu is not None}

    def range_of(name: str, num_bits: int) -> Range:
        """One for a tensor, so that the layer that makes it and those that take it have the same grid."""
        low, high = RANGES[ranges](observers[name], num_bits)
        if name not in merged:
            return low, high
        return 0.0, 6.0 if _is_relu6(result.reference, merged[name]) else max(high, 0.0)

    result.stands_for = {node.name: node.name for node in result.reference.graph.nodes}
    for plan in plans:
        _replace(result, plan, range_of)
    result.recreated.graph.lint()
    result.recreated.recompile()
    return result


@dataclass
class _Plan:
    """One replacement: the node, the nodes on whose grids its inputs are, and the nodes that are merged into it."""

    node: fx.Node
    kind: str
    options: Options
    inputs: list[str]
    norm: fx.Node | None = None
    relu: fx.Node | None = None

    @property
    def last(self) -> str:
        return (self.relu or self.norm or self.node).name


def _traced(model: nn.Module) -> fx.GraphModule:
    try:
        graph = fx.symbolic_trace(copy.deepcopy(model))
    except Exception as error:
        told = str(error).partition("\n")[0]
        raise ProfilerError(f"torch.fx cannot trace {type(model).__name__}: {told}") from error
    needed = [node.name for node in graph.graph.nodes if node.op == "placeholder" and not node.args]
    if len(needed) != 1:
        raise ProfilerError(f"{type(model).__name__} takes {', '.join(needed) or 'nothing'}: one tensor is expected")
    _work_apart(graph)
    graph.recompile()
    return graph.eval()


def _work_apart(graph: fx.GraphModule) -> None:
    """Takes care that nothing works in place: that would change outputs which are still to be compared. Who takes the
    changed tensor afterwards gets the new one."""
    order = {node: number for number, node in enumerate(graph.graph.nodes)}
    for node in order:
        module, apart = _module(graph, node), _apart(node)
        if apart is not None:
            node.target = apart
        elif node.kwargs.get("inplace"):
            node.kwargs = {**node.kwargs, "inplace": False}
        elif not getattr(module, "inplace", False):
            continue
        source = node.all_input_nodes[0]
        source.replace_all_uses_with(node, delete_user_cb=lambda user, now=order[node]: order[user] > now)
    for module in graph.modules():
        if getattr(module, "inplace", False):
            module.inplace = False


def _apart(node: fx.Node) -> Callable | str | None:
    """What does the same as a node that is called ``relu_`` or ``add_`` and makes a new tensor; None for others."""
    if node.op not in ("call_function", "call_method"):
        return None
    name = node.target if node.op == "call_method" else getattr(node.target, "__name__", "")
    if not name.endswith("_") or name.endswith("__"):
        return None
    if node.op == "call_method":
        return name[:-1] if hasattr(Tensor, name[:-1]) else None
    return getattr(functional, name[:-1], None) or getattr(torch, name[:-1], None)


def _dimensions(model: nn.Module, graph: fx.GraphModule, sample: Tensor) -> dict[str, int]:
    """Node -> number of dimensions of its output, on one sample, (1, ...).

    Raises:
        ProfilerError: if the graph computes another output than the model, or one that are no logits.
    """
    found = {}

    def see(name: str, value: object) -> None:
        if isinstance(value, Tensor):
            found[name] = value.dim()

    with torch.no_grad():
        traced = check_logits("the model", Watch(graph, see).run(sample.clone()), sample)
        if not torch.allclose(traced, model(sample.clone()), rtol=0, atol=0, equal_nan=True):
            told = "does it draw random numbers, or change a part of a tensor in place?"
            raise ProfilerError(f"{type(model).__name__}, as torch.fx traces it, gives another output: {told}")
    return found


def check_logits(name: str, values: object, images: Tensor) -> Tensor:
    """The values, if they are a number for each image and class.

    Raises:
        ProfilerError: if not; it calls the network by ``name``.
    """
    if not isinstance(values, Tensor) or values.dim() != 2 or len(values) != len(images):
        got = f"a tensor {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise ProfilerError(f"{name} gives {got}; a classifier gives a tensor ({len(images)}, classes)")
    return values


def _module(graph: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return graph.get_submodule(node.target) if node.op == "call_module" else None


def inputs_of(node: fx.Node) -> list[fx.Node]:
    """The nodes that a layer takes; one twice, if it is added to itself."""
    return [argument for argument in (*node.args, *node.kwargs.values()) if isinstance(argument, fx.Node)]


def _source(node: fx.Node, graph: fx.GraphModule, plans: Iterable[_Plan]) -> fx.Node:
    """The node on whose grid this one's values are: some hand on what they take, besides zeros, which every grid has,
    and a mean in whole numbers stays on its input's grid."""
    means = {plan.node for plan in plans if plan.kind == "pool" and _in_whole_numbers(plan.options)}
    while node in means or _hands_on(node, graph):
        node = node.all_input_nodes[0]
    return node


def _hands_on(node: fx.Node, graph: fx.GraphModule) -> bool:
    module = _module(graph, node)
    if module is not None:
        return isinstance(module, nn.ZeroPad2d | nn.Flatten | nn.Identity | nn.Dropout)
    if node.target is functional.pad:
        ways = dict(zip(("mode", "value"), node.args[2:], strict=False)) | node.kwargs
        return ways.get("mode", "constant") == "constant" and not ways.get("value")
    return node.target in FLATTEN and node.op in ("call_function", "call_method")


def _in_whole_numbers(options: Options) -> bool:
    return options.quantized and options.float_format is None


def _kind(graph: fx.GraphModule, node: fx.Node) -> str | None:
    """One of `KINDS`, or None."""
    module = _module(graph, node)
    if isinstance(module, nn.Conv2d):
        return "depthwise" if module.groups > 1 and module.groups == module.in_channels else "conv"
    if isinstance(module, nn.Linear):
        return "linear"
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return "pool" if module.output_size in (1, (1, 1)) else None
    if node.op not in ("call_function", "call_method"):
        return None
    if node.target in ADDITIONS:
        two = len(node.args) == 2 and not node.kwargs and all(isinstance(a, fx.Node) for a in node.args)
        return "add" if two else None
    if node.target in POOLS:
        return "pool" if _pooled(node) is not None else None
    return None


def _pooled(node: fx.Node) -> bool | None:
    """Whether a call that takes the mean over height and width keeps them; None if it is another mean."""
    if node.target is functional.adaptive_avg_pool2d:
        size = node.args[1] if len(node.args) > 1 else node.kwargs.get("output_size")
        return True if size in (1, (1, 1), [1, 1]) else None
    axes = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    keep = node.args[2] if len(node.args) > 2 else node.kwargs.get("keepdim", False)
    others = node.kwargs.keys() - {"dim", "keepdim"}
    # (-2, -1) of a tensor of four dimensions are (2, 3); of which it is here cannot be seen in the graph
    return bool(keep) if not others and isinstance(axes, list | tuple) and sorted(axes) in ([2, 3], [-2, -1]) else None


def by_kind(graph: fx.GraphModule) -> dict[str, list[fx.Node]]:
    found: dict[str, list[fx.Node]] = {kind: [] for kind in KINDS}
    for node in graph.graph.nodes:
        if (kind := _kind(graph, node)) is not None:
            found[kind].append(node)
    return found


def _overlooked(graph: fx.GraphModule, choices: Iterable[Choice]) -> dict[str, str]:
    """What somebody who chooses all layers of a kind may miss: node, or the kind -> why."""
    told = {}
    for kind, layers in by_kind(graph).items():
        if Choice(kind) not in (replace(choice, options=Options()) for choice in choices):
            continue
        if not layers:
            told[kind] = "the network has no layer of this kind"
        told |= {node.name: reason for node in graph.graph.nodes if (reason := _almost(graph, node, kind))}
    return told


def _almost(graph: fx.GraphModule, node: fx.Node, kind: str) -> str | None:
    """Why a node that does what layers of the kind do is none."""
    if _kind(graph, node) is not None:
        return None
    module = _module(graph, node)
    calls = node.target if node.op in ("call_function", "call_method") else None
    if kind == "conv" and (isinstance(module, nn.modules.conv._ConvNd) or calls in CONVOLUTIONS):
        return "a convolution can be replaced if it is a torch.nn.Conv2d"
    if kind == "linear" and calls in PRODUCTS:
        return "a product can be replaced if it is a torch.nn.Linear"
    if kind == "add" and calls in ADDITIONS:
        return "it adds something else than two tensors"
    if kind == "pool" and (isinstance(module, nn.AvgPool2d | nn.AdaptiveAvgPool2d) or calls in POOLS):
        return "it is no mean over height and width, as torch.nn.AdaptiveAvgPool2d(1) is"
    return None


def chosen_layers(graph: fx.GraphModule, choices: Iterable[Choice]) -> dict[str, Options]:
    """Node -> options, in the network's order."""
    kinds = {kind: [node.name for node in nodes] for kind, nodes in by_kind(graph).items()}
    options: dict[str, Options] = {}
    for number, choice in enumerate(choices):
        where = f"layers[{number}]"  # as a configuration has it
        if choice.which in kinds:
            names = kinds[choice.which]
            indices = range(len(names)) if choice.indices is None else choice.indices
            if wrong := [index for index in indices if not 0 <= index < len(names)]:
                allowed = f"indices are 0 to {len(names) - 1}" if names else "the network has none"
                raise ProfilerError(f"{where}.indices: no layer {wrong[0]} of kind {choice.which!r}: {allowed}")
            options |= {names[index]: choice.options for index in indices}
            continue
        if choice.which not in (layers := [name for names in kinds.values() for name in names]):
            raise ProfilerError(
                f"{where}: {choice.which!r} is neither a kind ({', '.join(KINDS)}) nor a layer that can be replaced "
                f"({', '.join(layers)})"
            )
        options[choice.which] = choice.options
    return {node.name: options[node.name] for node in graph.graph.nodes if node.name in options}


def _plan(result: Recreation, node: fx.Node, options: Options, dimensions: dict[str, int]) -> _Plan | None:
    """What to do with a chosen node; None, with a reason in ``result.left``, if nothing can be done."""
    graph, kind = result.recreated, _kind(result.recreated, node)
    module = _module(graph, node)
    if isinstance(module, nn.Conv2d) and module.padding_mode != "zeros" and options.quantized:
        result.left[node.name] = f"it pads by {module.padding_mode!r}; a whole-number convolution pads with zeros"
        return None
    inputs = [argument.name for argument in inputs_of(node)]
    if kind == "pool" and dimensions[inputs[0]] != 4:
        result.left[node.name] = f"its input has {dimensions[inputs[0]]} dimensions, not 4"
        return None
    plan = _Plan(node, kind, options, inputs)
    reasons, last = [], node
    if options.merge_batch_norm and kind in ("conv", "depthwise", "linear"):
        plan.norm, reason = _follower(graph, last, _is_norm, "batch norm")
        if plan.norm is not None and kind == "linear" and dimensions[node.name] != 2:
            plan.norm, reason = None, [f"the batch norm {plan.norm.name} is not merged: it is not over the last axis"]
        reasons += reason
        last = plan.norm or last
    if options.merge_relu:
        plan.relu, reason = _follower(graph, last, _is_relu, "ReLU")
        if plan.relu is not None and kind == "pool":
            plan.relu, reason = None, [f"the ReLU {plan.relu.name} is not merged: a mean stays on its input's grid"]
        reasons += reason
    if reasons:
        result.left[node.name] = "; ".join(reasons)
    return plan


def _follower(
    graph: fx.GraphModule, node: fx.Node, is_one: Callable[[fx.GraphModule, fx.Node], bool], what: str
) -> tuple[fx.Node | None, list[str]]:
    """The node that follows and can be merged; or None, and why, if one follows that cannot."""
    followers = [user for user in node.users if is_one(graph, user)]
    if not followers:
        return None, []
    if len(node.users) > 1:
        return None, [f"the {what} {followers[0].name} is not merged: the layer's output is used elsewhere, too"]
    module = _module(graph, followers[0])
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.running_mean is None:
        return None, [f"the {what} {followers[0].name} is not merged: it has no running statistics"]
    return followers[0], []


def _is_norm(graph: fx.GraphModule, node: fx.Node) -> bool:
    return isinstance(_module(graph, node), nn.BatchNorm1d | nn.BatchNorm2d)


def _is_relu(graph: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(_module(graph, node), nn.ReLU | nn.ReLU6)
    return node.op in ("call_function", "call_method") and node.target in (*RELU, *RELU6)


def _is_relu6(graph: fx.GraphModule, node: fx.Node) -> bool:
    return isinstance(_module(graph, node), nn.ReLU6) or node.target in RELU6


class Watch(fx.Interpreter):
    """Runs a graph and hands the output of every node to ``see``."""

    def __init__(self, graph: fx.GraphModule, see: Callable[[str, object], None]):
        super().__init__(graph)
        self.see, self.extra_traceback = see, False  # torch would add lines to messages

    def run_node(self, node: fx.Node) -> object:
        try:
            value = super().run_node(node)
        except Exception as error:  # of layers that anybody wrote
            told = str(error).partition("\n")[0] or type(error).__name__
            raise ProfilerError(f"{node.name}: {told}") from error
        self.see(node.name, value)
        return value


def _observe(graph: fx.GraphModule, batches: Iterable[Tensor], wanted: set[str]) -> dict[str, Observer]:
    observers = {name: Observer() for name in wanted}

    def see(name: str, value: object) -> None:
        if name in observers:
            try:
                observers[name].observe(value)
            except ValueError as error:
                raise ProfilerError(f"the output of {name}: {error}") from None

    with torch.no_grad():
        for batch in batches:
            Watch(graph, see).run(batch)
    return observers


def _replace(result: Recreation, plan: _Plan, range_of: Callable[[str, int], Range]) -> None:
    graph, node, options = result.recreated, plan.node, plan.options
    try:
        new = _new_layer(graph, plan, range_of)
    except ValueError as error:
        raise ProfilerError(f"{node.name}: {error}") from error
    name = f"{node.name}_recreated"
    graph.add_submodule(name, new)
    merged = [n for n in (plan.norm, plan.relu) if n is not None]
    with graph.graph.inserting_before(node):
        call = graph.graph.call_module(name, tuple(inputs_of(node)))
    last = merged[-1] if merged else node
    last.replace_all_uses_with(call)
    for old in (*reversed(merged), node):
        graph.graph.erase_node(old)
        result.stands_for.pop(old.name, None)
    result.replaced[node.name] = options
    result.stands_for[call.name] = plan.last


def _new_layer(graph: fx.GraphModule, plan: _Plan, range_of: Callable[[str, int], Range]) -> nn.Module:
    options, node = plan.options, plan.node
    layer = _module(graph, node)
    if plan.norm is not None:
        fuse = fuse_linear_bn_eval if plan.kind == "linear" else fuse_conv_bn_eval
        layer = fuse(layer, _module(graph, plan.norm))
    keep = isinstance(layer, nn.AdaptiveAvgPool2d) or (plan.kind == "pool" and bool(_pooled(node)))
    if not _in_whole_numbers(options):
        floats = layer if layer is not None else _Mean(keep) if plan.kind == "pool" else _Add()
        if options.quantized:
            floats = FormatLayer(floats, options.float_format)
        return nn.Sequential(floats, _relu_of(graph, plan)) if plan.relu is not None else floats
    inputs = [range_of(name, options.num_bits) for name in plan.inputs]
    output = range_of(plan.last, options.num_bits)
    if plan.kind == "add":
        return IntegerAdd(inputs, output, options)
    if plan.kind == "pool":
        return IntegerAveragePool(inputs[0], options, keep=keep)
    return IntegerLayer(layer, inputs[0], output, options)


class _Add(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class _Mean(nn.Module):
    def __init__(self, keep: bool):
        super().__init__()
        self.keep = keep

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((-2, -1), keepdim=self.keep)


def _relu_of(graph: fx.GraphModule, plan: _Plan) -> nn.Module:
    return nn.ReLU6() if _is_relu6(graph, plan.relu) else nn.ReLU()
