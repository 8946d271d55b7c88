"""A whole network in whole numbers, as an FPGA would run it: codes go from layer to layer, floats only in and out.

`Calibrated` traces a network, folds its batch norms and looks at calibration images; its `quantized` makes an
`IntegerNetwork` by a `Scheme`. Weights and activations are symmetric n-bit codes (see `power_of_two`), biases whole
numbers in the units of the sums; up to 8 bits they and the sums fit into 32 bits (`Scheme.accumulator`). Between two
layers a sum is brought to n bits by one of `ADJUSTMENTS`:

- ``"float"``: times a real number (float64), plus 1/2, rounded down.
- ``"scale_shift"``: times a whole number of n bits, then a rounding shift.
- ``"power_of_two"``: a rounding shift; the weights' range is widened so that it is exact.
- ``"nearest_shift"``: a rounding shift by the nearest power of two, the weights as they are: off by up to sqrt(2).

Rounding is once, to nearest, halves up: add half and shift. A ReLU is the lower end of the clamp. A leaky ReLU
multiplies sums below zero by its slope as a whole number of 8 bits and a shift (0.1: 205 / 2048) before that rounding.
Pooling, reshaping, upsampling and concatenation move codes and change none; tensors that are concatenated or added
share one scale.

Exact and fast: the sums run in float32 where sum |w x| + |b| over a channel cannot reach 2^24 with any codes, in
float64 where it cannot reach 2^53; then every partial sum is a whole number that the type holds, in whatever order a
kernel adds. What follows the sums is done in int32 or int64, whichever its bounds allow.

Stands on torch, `power_of_two` and `integer_layers`.
"""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from course_utils.quantization.integer_layers import INT32_MAX, INT32_MIN, quantize_bias
from course_utils.quantization.power_of_two import (
    find_shift,
    find_shift_scale,
    integer_scale,
    largest_code,
    power_of_two_weights,
    remove_outliers,
    to_integers,
)

__all__ = ["ADJUSTMENTS", "Calibrated", "CodeLayer", "IntegerNetwork", "Scheme", "fold_batch_norms"]

ADJUSTMENTS = ("float", "scale_shift", "power_of_two", "nearest_shift")
CORRECTIONS = (None, "layer", "channel")
ACCUMULATORS = ("exact", "wrap", "saturate")
CUTS = ("both", "scale", "weights")
LEAK_BITS = 8
_FEW = 5  # images of a convolution in float64: torch unfolds all of a call, and of so few that stays in the cache


@dataclass(frozen=True)
class Scheme:
    """How a network becomes whole numbers. The defaults are what the tuwien report's program does.

    Attributes:
        num_bits: of weights and activations, 2 to 16.
        adjustment: one of `ADJUSTMENTS`.
        per_channel: a scale, and an adjustment, of its own for each output channel's weights.
        outliers: m of `remove_outliers`, for each layer's weights; None: min/max.
        bias_correction: None; ``"channel"``: each channel's mean error over the calibration images goes into its bias,
            layer after layer; ``"layer"``: one mean for all channels of a layer, as equation 3.14 stands.
        printed_scale: (2^n - 1) / 2 for the largest magnitude, as equation 3.1 is printed, and not 2^(n-1) - 1.
        unsigned: activations that are never below zero get codes 0 .. 2^n - 1.
        before_activation: a layer's output range is taken before its activation, not behind it.
        adjust_last: outputs are n-bit codes, too; if not, they are the sums of layers that no activation follows.
        accumulator: what becomes of sums beyond 32 bits, which come about above 8 bits: ``"exact"`` keeps them,
            ``"wrap"`` drops their upper bits, ``"saturate"`` takes the nearest 32-bit number. Biases beyond 32 bits
            saturate in the latter two.
        search: finds (scale, shift) for ``"scale_shift"``.
        remove: cuts the weights for ``outliers``.
        cut: on what removing outliers acts, to tell its two effects apart: ``"both"``, as it is meant; ``"scale"``: the
            step becomes finer, and outliers keep their size, in codes beyond n bits; ``"weights"``: outliers are cut,
            and the step stays that of the uncut weights.

    Raises:
        ValueError: if a value is not one of those.
    """

    num_bits: int = 8
    adjustment: str = "float"
    per_channel: bool = False
    outliers: float | None = None
    bias_correction: str | None = None
    printed_scale: bool = False
    unsigned: bool = False
    before_activation: bool = False
    adjust_last: bool = False
    accumulator: str = "exact"
    search: Callable[[float, int], tuple[int, int]] = find_shift_scale
    remove: Callable[[Tensor, float], Tensor] = remove_outliers
    cut: str = "both"

    def __post_init__(self) -> None:
        largest_code(self.num_bits)
        for name, allowed in (
            ("adjustment", ADJUSTMENTS),
            ("bias_correction", CORRECTIONS),
            ("accumulator", ACCUMULATORS),
            ("cut", CUTS),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is one of {', '.join(map(str, allowed))}, not {getattr(self, name)!r}")


@dataclass(frozen=True)
class Codes:
    """The n-bit integers of one activation: code = round(q x), from ``lowest`` to ``highest``."""

    q: float
    lowest: int
    highest: int

    @property
    def largest(self) -> int:
        return max(-self.lowest, self.highest)


class CodeLayer(nn.Module):
    """A convolution or fully connected layer: codes in, codes out (or real numbers, if ``output`` is None).

    Args:
        layer: `torch.nn.Conv2d` that pads with zeros, or `torch.nn.Linear`; not changed.
        input, output: the codes of its activations.
        slope: for sums below zero: 1 without an activation, 0 for a ReLU, between for a leaky ReLU.
        scheme: see `Scheme`.

    Attributes:
        weight_q: int64, of the weight's shape. q_w: float64 (out,).
        bias_q: int64 (out,), in the units of the sums, 1 / (q_x q_w).
        multiplier, right_shift: int64 (out,): a sum times multiplier, then shifted; or adjustment: float64 (out,).
        pool: a max pooling that is done on the sums: what follows them keeps their order, so the largest code is the
            code of the largest sum, and there are fewer to adjust.
        reach: what no sum of absolute products plus the bias exceeds, whatever the codes.
        largest_sum: the largest |sum| there was, counted where ``reach`` does not fit into 32 bits; 0 elsewhere.
    """

    def __init__(self, layer: nn.Module, input: Codes, output: Codes | None, slope: float, scheme: Scheme) -> None:
        super().__init__()
        if getattr(layer, "padding_mode", "zeros") != "zeros":
            raise ValueError(f"a convolution in whole numbers pads with zeros, not by {layer.padding_mode!r}")
        if not 0 <= slope <= 1:
            raise ValueError(f"a leaky ReLU in whole numbers has a slope of 0 to 1, not {slope}")
        self.ways = None
        if isinstance(layer, nn.Conv2d):
            self.ways = {name: getattr(layer, name) for name in ("stride", "padding", "dilation", "groups")}
        self.input, self.output, self.scheme, self.largest_sum = input, output, scheme, 0
        self.pool: nn.Module | None = None
        weight = ranged = layer.weight.detach()  # what gets codes, and what the scale is taken from
        if scheme.outliers is not None:
            cut = scheme.remove(weight, scheme.outliers)
            weight, ranged = (weight if scheme.cut == "scale" else cut), (weight if scheme.cut == "weights" else cut)
        channels, axis = len(weight), 0 if scheme.per_channel else None
        shift = None
        if scheme.adjustment == "power_of_two" and output is not None:
            # a q_x that is larger by this makes the widest q_w larger by it
            grown = _top(scheme) / largest_code(scheme.num_bits)
            q_w, shift = power_of_two_weights(ranged / grown, input.q, output.q, scheme.num_bits, axis=axis)
        else:
            size = ranged.double().abs()
            largest = size.amax() if axis is None else size.flatten(1).amax(1)
            q_w = integer_scale(largest, scheme.num_bits) * (_top(scheme) / largest_code(scheme.num_bits))
        self.q_w = q_w.expand(channels).clone()
        by_channel = self.q_w.view(-1, *[1] * (weight.dim() - 1))
        if scheme.cut == "scale":
            self.weight_q = (weight.double() * by_channel).round_().long()
        else:
            self.weight_q = to_integers(weight, by_channel, scheme.num_bits)
        bias = torch.zeros(channels) if layer.bias is None else layer.bias.detach()
        self.real_bias = bias.double()
        self._prepare()
        if output is None:
            return
        adjustment = output.q / (input.q * self.q_w)
        self.leaky, self.leak, leak_shift = 0 < slope < 1, 1, 0
        if self.leaky:
            self.leak, leak_shift = find_shift_scale(slope, LEAK_BITS)
        self.lowest = max(output.lowest, 0) if slope == 0 else output.lowest
        self.adjustment = None
        if scheme.adjustment == "float":
            self.adjustment = adjustment * 2.0**leak_shift
        else:
            if scheme.adjustment == "scale_shift":
                pairs = torch.tensor([scheme.search(a, scheme.num_bits) for a in adjustment.tolist()])
                scale, shift = pairs.long().unbind(1)
            else:
                scale = torch.ones(channels, dtype=torch.int64)
                if shift is None:
                    shift = torch.tensor([find_shift(a) for a in adjustment.tolist()])
            shift = (shift + leak_shift).expand(channels)
            self.multiplier = scale << shift.clamp(min=0)
            self.right_shift = (-shift).clamp(min=0)
        self.leak_shift = leak_shift

    def _prepare(self) -> None:
        """Biases as whole numbers, and the type in which the sums are exact."""
        units = self.input.q * self.q_w
        if self.scheme.accumulator == "exact":
            self.bias_q = (self.real_bias * units).round_().long()
        else:
            self.bias_q = quantize_bias(self.real_bias, 1 / units)
        sums = self.weight_q.flatten(1).abs().sum(1) * self.input.largest + self.bias_q.abs()
        self.reach = int(sums.max())
        if self.reach >= 2**53:
            raise OverflowError(f"sums of such codes may reach {self.reach}, past 2^53, and would no longer be exact")
        single = self.reach < 2**24 and torch.get_float32_matmul_precision() == "highest"
        self.dtype = torch.float32 if single else torch.float64
        self._weight, self._bias = self.weight_q.to(self.dtype), self.bias_q.to(self.dtype)
        if self.ways is not None and single:
            self._weight = self._weight.contiguous(memory_format=torch.channels_last)

    def accumulate(self, codes: Tensor) -> Tensor:
        """The sums with the bias: whole numbers, in float32 or float64.

        Args:
            codes: whole numbers within the input's codes, of any dtype; (..., in) or (batch, in, height, width).
        """
        codes = codes.to(self.dtype)
        if self.ways is None:
            acc = functional.linear(codes, self._weight, self._bias)
        else:
            with torch.backends.nnpack.flags(enabled=False):  # it transforms, and does not add whole numbers
                parts = codes.split(_FEW) if self.dtype == torch.float64 and len(codes) > _FEW else [codes]
                sums = [functional.conv2d(part, self._weight, self._bias, **self.ways) for part in parts]
                acc = sums[0] if len(sums) == 1 else torch.cat(sums)
        if self.reach > INT32_MAX and acc.numel():
            self.largest_sum = max(self.largest_sum, int(acc.abs().max()))
            if self.scheme.accumulator == "wrap":
                acc = acc.long().to(torch.int32).to(self.dtype)
            elif self.scheme.accumulator == "saturate":
                acc = acc.clamp_(INT32_MIN, INT32_MAX)
        return acc

    def forward(self, codes: Tensor) -> Tensor:
        """Codes in; codes out, as float32, or real numbers in float32."""
        acc = self.accumulate(codes)
        if self.output is None:
            return (acc.double() / self._channels(self.input.q * self.q_w)).float()
        return self.adjust(acc if self.pool is None else self.pool(acc))

    def adjust(self, acc: Tensor) -> Tensor:
        """Sums to codes."""
        if self.adjustment is not None:
            if self.leaky:
                acc = acc.double()
                acc = acc * torch.where(acc < 0, self.leak, 1 << -self.leak_shift)
            acc = (acc * self._channels(self.adjustment)).add_(0.5).floor_()
            return acc.clamp_(self.lowest, self.output.highest).float()
        half = (1 << self.right_shift) >> 1
        reach = min(self.reach, INT32_MAX) if self.scheme.accumulator != "exact" else self.reach
        bound = reach * int(self.multiplier.max()) * max(self.leak, 1 << -self.leak_shift) + int(half.max())
        if bound >= 2**63 and self.leaky:
            return self._adjust_by_sign(acc, reach)
        if bound >= 2**63:
            raise OverflowError(f"a sum times its adjustment may reach {bound}, past 64 bits")
        # a shift by more places than the type has gives what its largest shift gives
        dtype, places = (torch.int32, 31) if bound < 2**31 else (torch.int64, 63)
        acc = acc.to(dtype)
        if self.leaky:
            acc *= torch.where(acc < 0, self.leak, 1 << -self.leak_shift).to(dtype)
        if int(self.multiplier.max()) > 1:
            acc *= self._channels(self.multiplier.to(dtype))
        acc += self._channels(half.to(dtype))
        acc >>= self._channels(self.right_shift.clamp(max=places).to(dtype))
        return acc.clamp_(self.lowest, self.output.highest).float()

    def _adjust_by_sign(self, acc: Tensor, reach: int) -> Tensor:
        """What `adjust` gives behind a leaky ReLU, where 64 bits do not hold sums above zero times the slope's 2^11.

        They are shifted by that much less.
        """
        bound = reach * int(self.multiplier.max()) * self.leak + (1 << int(self.right_shift.max()))
        places = self.right_shift + self.leak_shift  # for sums above zero
        if bound >= 2**63 or int(self.right_shift.max()) > 62 or int(places.min()) < 1:
            raise OverflowError(f"a sum times its adjustment may reach {bound}, past 64 bits")
        codes = torch.zeros_like(acc, dtype=torch.int64)
        for part, factor, shift in (
            (acc.clamp(max=0), self.multiplier * self.leak, self.right_shift),
            (acc.clamp(min=0), self.multiplier, places),
        ):
            half = (1 << shift) >> 1
            codes += (part.long() * self._channels(factor) + self._channels(half)) >> self._channels(shift)
        return codes.clamp_(self.lowest, self.output.highest).float()

    def correct(self, codes: Tensor, wanted: Tensor) -> None:
        """Moves the bias so that the mean of the sums over these codes is ``wanted``, (out,) real numbers."""
        acc = self.accumulate(codes)
        axes = (0, 2, 3) if self.ways is not None else tuple(range(acc.dim() - 1))
        units = self.input.q * self.q_w
        error = acc.mean(axes, dtype=torch.float64) / units - wanted
        # from the bias as it is rounded, which the error is of: so that only one rounding is left
        self.real_bias = self.bias_q / units - (error if self.scheme.bias_correction == "channel" else error.mean())
        self._prepare()

    def _channels(self, numbers: Tensor) -> Tensor:
        return numbers if self.ways is None else numbers.view(-1, 1, 1)


def _top(scheme: Scheme) -> float:
    return (2**scheme.num_bits - 1) / 2 if scheme.printed_scale else largest_code(scheme.num_bits)


class ToCodes(nn.Module):
    """Floats to codes, as float32."""

    def __init__(self, codes: Codes) -> None:
        super().__init__()
        self.codes = codes

    def forward(self, x: Tensor) -> Tensor:
        return (x.double() * self.codes.q).round_().clamp_(self.codes.lowest, self.codes.highest).float()


class FromCodes(nn.Module):
    """Codes to the float32 numbers they stand for."""

    def __init__(self, codes: Codes) -> None:
        super().__init__()
        self.codes = codes

    def forward(self, codes: Tensor) -> Tensor:
        return (codes.double() / self.codes.q).float()


class Add(nn.Module):
    """Two tensors of codes of one scale; the sum saturates."""

    def __init__(self, codes: Codes) -> None:
        super().__init__()
        self.codes = codes

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (x + y).clamp_(self.codes.lowest, self.codes.highest)


class IntegerNetwork(nn.Module):
    """A network in whole numbers; called as the float network is, and it gives float32, too.

    Attributes:
        graph: the traced network in which codes go from node to node.
        layers: node -> `CodeLayer`, in the network's order.
        codes: node -> the codes of its output; nodes that give real numbers are not in it.
    """

    def __init__(self, graph: fx.GraphModule, layers: dict[str, CodeLayer], codes: dict[str, Codes]) -> None:
        super().__init__()
        self.graph, self.layers, self.codes = graph, layers, codes

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        with torch.no_grad():
            return self.graph(x)


RELU = (functional.relu, torch.relu, "relu")
MOVES = (nn.MaxPool2d, nn.Flatten, nn.Identity, nn.Dropout)
CALLS = (torch.cat, torch.flatten, operator.getitem, functional.max_pool2d, *RELU)
CALLS += ("flatten", "chunk", "view", "reshape", "contiguous")
ADDITIONS = (operator.add, torch.add, "add")


def fold_batch_norms(
    graph: fx.GraphModule, fuse: Callable[[nn.Conv2d, nn.BatchNorm2d], nn.Conv2d] = fuse_conv_bn_eval
) -> fx.GraphModule:
    """A copy in which every batch norm that follows a convolution or fully connected layer is part of it.

    Args:
        fuse: makes one convolution of the two.
    """
    graph = copy.deepcopy(graph)
    modules = dict(graph.named_modules())
    for node in list(graph.graph.nodes):
        norm = modules.get(node.target) if node.op == "call_module" else None
        if not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            continue
        before = node.args[0]
        layer = modules.get(before.target) if before.op == "call_module" else None
        if not isinstance(layer, nn.Conv2d | nn.Linear) or len(before.users) > 1:
            raise ValueError(f"the batch norm {node.name} does not follow a layer that it could be folded into")
        fused = (fuse if isinstance(layer, nn.Conv2d) else fuse_linear_bn_eval)(layer, norm)
        graph.set_submodule(before.target, fused)
        modules[before.target] = fused
        node.replace_all_uses_with(before)
        graph.graph.erase_node(node)
    graph.recompile()
    return graph


@dataclass
class _Seen:
    lowest: float
    largest: float
    mean: Tensor  # of each channel


class Calibrated:
    """A network, its batch norms folded, and what its activations are on calibration images.

    Args:
        model: in eval mode: one that `torch.fx.symbolic_trace` can trace, or a graph module, such as
            `course_utils.networks.Darknet.graph` gives. It is not changed.
        batches: what the model takes; of one size, as the mean over them counts each alike.
        fuse: see `fold_batch_norms`.

    Attributes:
        graph: the float network, folded.

    Raises:
        ValueError: if the model is in training mode, there is no batch, or a node cannot be done in whole numbers; the
            message names it.
    """

    def __init__(self, model: nn.Module, batches: Iterable[Tensor], fuse: Callable = fuse_conv_bn_eval) -> None:
        if model.training:
            raise ValueError("a model in training mode has no fixed numbers: call model.eval() first")
        traced = model if isinstance(model, fx.GraphModule) else fx.symbolic_trace(model)
        self.graph = fold_batch_norms(traced, fuse).eval()
        self.batches = list(batches)
        if not self.batches:
            raise ValueError("calibration needs at least one batch")
        self._plan()
        self._seen: dict[str, _Seen] = {}
        with torch.no_grad():
            for batch in self.batches:
                _Watch(self.graph, self._see).run(batch)

    def _see(self, name: str, value: object) -> None:
        if not isinstance(value, Tensor):
            return
        low, high = (float(end) for end in value.aminmax())
        if not all(map(math.isfinite, (low, high))):
            raise ValueError(f"on the calibration images the output of {name} is not finite")
        channel = value.dim() - 1 if name in self._linear else 1
        mean = value.double().mean([axis for axis in range(value.dim()) if axis != channel]) / len(self.batches)
        if name in self._seen:
            seen = self._seen[name]
            self._seen[name] = _Seen(min(seen.lowest, low), max(seen.largest, -low, high), seen.mean + mean)
        else:
            self._seen[name] = _Seen(low, max(-low, high), mean)

    def _module(self, node: fx.Node) -> nn.Module | None:
        return self.graph.get_submodule(node.target) if node.op == "call_module" else None

    def _slope(self, node: fx.Node) -> float | None:
        """Of an activation for values below zero; None for other nodes."""
        module = self._module(node)
        if isinstance(module, nn.LeakyReLU):
            return module.negative_slope
        return 0.0 if isinstance(module, nn.ReLU) or node.target in RELU else None

    def _plan(self) -> None:
        """Which activation each layer takes along, and which nodes share their codes."""
        nodes = list(self.graph.graph.nodes)
        self._linear = {node.name for node in nodes if isinstance(self._module(node), nn.Linear)}
        self.merged: dict[str, fx.Node] = {}  # layer -> its activation
        shared: dict[str, str] = {node.name: node.name for node in nodes}

        def root(name: str) -> str:
            while shared[name] != name:
                name = shared[name]
            return name

        taken = set()
        for node in nodes:
            module = self._module(node)
            if isinstance(module, nn.Conv2d | nn.Linear):
                users = list(node.users)
                if len(users) == 1 and self._slope(users[0]) is not None:
                    self.merged[node.name] = users[0]
                    taken.add(users[0].name)
                continue
            moves = isinstance(module, MOVES) or (isinstance(module, nn.Upsample) and module.mode == "nearest")
            moves = moves or (module is None and node.target in (*CALLS, *ADDITIONS)) or self._slope(node) == 0
            if node.name in taken or node.op in ("placeholder", "output"):
                continue
            if not moves:
                what = type(module).__name__ if module is not None else node.target
                raise ValueError(f"{node.name} ({what}) cannot be done in whole numbers here")
            for source in node.all_input_nodes:
                shared[root(source.name)] = root(node.name)
        for name, activation in self.merged.items():
            shared[root(name)] = root(activation.name)
        self._group = {node.name: root(node.name) for node in nodes}

    def _codes(self, scheme: Scheme) -> dict[str, Codes]:
        """Node -> codes: of one group of nodes that hand codes on, the range holds all that come in."""
        sources = [node for node in self.graph.graph.nodes if node.op == "placeholder"]
        sources += [node for node in self.graph.graph.nodes if node.target in ADDITIONS]
        sources += [n for n in self.graph.graph.nodes if isinstance(self._module(n), nn.Conv2d | nn.Linear)]
        ranges: dict[str, tuple[float, float]] = {}
        for node in sources:
            behind = self.merged.get(node.name, node)
            largest = self._seen[(node if scheme.before_activation else behind).name].largest
            low, high = ranges.get(self._group[node.name], (0.0, 0.0))
            ranges[self._group[node.name]] = min(low, self._seen[behind.name].lowest), max(high, largest)
        highest = largest_code(scheme.num_bits)
        codes = {}
        for group, (low, largest) in ranges.items():
            if scheme.unsigned and low >= 0:
                top = 2**scheme.num_bits - 1
                codes[group] = Codes(top / largest if largest else 1.0, 0, top)
            else:
                q = float(integer_scale(largest, scheme.num_bits)) * (_top(scheme) / highest)
                codes[group] = Codes(q, -highest - 1, highest)
        return {name: codes[group] for name, group in self._group.items() if group in codes}

    def quantized(self, scheme: Scheme) -> IntegerNetwork:
        """The network in whole numbers."""
        graph, codes, layers = copy.deepcopy(self.graph), self._codes(scheme), {}
        floats = {node.name: node for node in self.graph.graph.nodes}  # as it was before anything is put between
        final = {self._group[node.name] for node in floats["output"].all_input_nodes}
        plain = set()  # nodes that give real numbers
        for node in list(graph.graph.nodes):
            module = graph.get_submodule(node.target) if node.op == "call_module" else None
            if isinstance(module, nn.Conv2d | nn.Linear):
                source, activation = codes[floats[node.name].args[0].name], self.merged.get(node.name)
                last = self._group[node.name] in final and all(user.op == "output" for user in node.users)
                real = last and activation is None and not scheme.adjust_last
                output = None if real else codes[node.name]
                slope = 1.0 if activation is None else self._slope(activation)
                layers[node.name] = CodeLayer(module, source, output, slope, scheme)
                graph.set_submodule(node.target, layers[node.name])
                if output is None:
                    plain.add(node.name)
                if activation is not None:
                    _skip(graph, next(iter(node.users)), node)
                follower = next(iter(node.users))
                pool = graph.get_submodule(follower.target) if follower.op == "call_module" else None
                if len(node.users) == 1 and isinstance(pool, nn.MaxPool2d) and output is not None:
                    layers[node.name].pool = pool
                    _skip(graph, follower, node)
            elif node.target in ADDITIONS:
                _swap(graph, node, Add(codes[node.name]))
            elif node.op == "placeholder":
                _insert(graph, node, ToCodes(codes[node.name]))
            elif node.op == "output":
                for source in node.all_input_nodes:
                    if source.name not in plain:
                        _insert(graph, source, FromCodes(codes[source.name]), only=node)
        graph.graph.lint()
        graph.recompile()
        result = IntegerNetwork(graph, layers, {n: c for n, c in codes.items() if n not in plain})
        if scheme.bias_correction is not None:
            wanted = {layer: self._seen[name].mean for name, layer in layers.items()}
            with torch.no_grad():
                _Corrector(graph, wanted).run(torch.cat(self.batches))
        return result


def _insert(graph: fx.GraphModule, node: fx.Node, module: nn.Module, only: fx.Node | None = None) -> None:
    """The module behind the node, for all that use it or for one of them."""
    name = f"{node.name}_{type(module).__name__}"
    graph.add_submodule(name, module)
    with graph.graph.inserting_after(node):
        call = graph.graph.call_module(name, (node,))
    node.replace_all_uses_with(call, delete_user_cb=lambda user: user is not call and only in (None, user))


def _skip(graph: fx.GraphModule, node: fx.Node, before: fx.Node) -> None:
    node.replace_all_uses_with(before)
    graph.graph.erase_node(node)


def _swap(graph: fx.GraphModule, node: fx.Node, module: nn.Module) -> None:
    name = f"{node.name}_{type(module).__name__}"
    graph.add_submodule(name, module)
    with graph.graph.inserting_before(node):
        call = graph.graph.call_module(name, node.args[:2])
    node.replace_all_uses_with(call)
    graph.graph.erase_node(node)


class _Watch(fx.Interpreter):
    def __init__(self, graph: fx.GraphModule, see: Callable[[str, object], None]) -> None:
        super().__init__(graph)
        self.see = see

    def run_node(self, node: fx.Node) -> object:
        value = super().run_node(node)
        self.see(node.name, value)
        return value


class _Corrector(fx.Interpreter):
    """Runs the integer network and corrects each layer's bias before its output is handed on."""

    def __init__(self, graph: fx.GraphModule, wanted: dict[CodeLayer, Tensor]) -> None:
        super().__init__(graph)
        self.wanted = wanted

    def call_module(self, target: str, args: tuple, kwargs: dict) -> object:
        module = self.fetch_attr(target)
        if isinstance(module, CodeLayer):
            module.correct(args[0], self.wanted[module])
        return super().call_module(target, args, kwargs)
