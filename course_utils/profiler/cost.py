"""What a layer would cost on a device: bytes of weights, of scale parameters and of its output, and operations.

Estimates from sizes and numbers of bits; nothing is timed.

What is counted, for one sample:

- weights: ``bits / 8`` bytes each, and 4 for each bias; without quantization 4 for each. A layer that is called several
  times is stored once, and counted with its first call; but each call that is replaced has grids of its own, and so
  weights of its own.
- scales: for each grid of the weights a multiplier (4 bytes) and a shift (1), and a zero point (``bits / 8``) where
  weights are asymmetric; for the output's grid a zero point. The scales of real numbers are not needed in between.
- output: ``bits / 8`` bytes for each activation; without quantization 4.
- operations: one for each product with its addition, as chips count them; for an addition or a mean one for each number
  that is added. (The thesis counts products and additions apart, 2.1.1.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, fx, nn

from course_utils.profiler.options import Options
from course_utils.profiler.recreation import Recreation, Watch, by_kind

__all__ = ["Cost", "costs"]

FLOAT_BYTES, BIAS_BYTES, MULTIPLIER_BYTES, SHIFT_BYTES = 4, 4, 4, 1


@dataclass(frozen=True)
class Cost:
    """Bytes, which may be fractions of one where numbers have fewer bits, and operations; see the module's text."""

    weights: float
    scales: float
    output: float
    operations: int


def costs(recreation: Recreation, sample: Tensor) -> dict[str, Cost]:
    """Layer, as it is called in the reference -> its cost: of each one that could be replaced, replaced or not.

    Args:
        sample: one or more inputs of the model, (n, ...), n > 0; costs are for one.
    """
    reference = recreation.reference
    numbers: dict[str, int] = {}

    def see(name: str, value: object) -> None:
        if isinstance(value, Tensor):
            numbers[name] = value[0].numel()

    with torch.no_grad():
        Watch(reference, see).run(sample[:1])
    kinds = {node: kind for kind, nodes in by_kind(reference).items() for node in nodes}
    found, stored = {}, set()
    for node in filter(kinds.get, reference.graph.nodes):
        options = recreation.replaced.get(node.name)
        found[node.name] = _cost(reference, kinds[node], node, options, numbers)
        if options is None and node.target in stored:
            found[node.name] = replace(found[node.name], weights=0.0)
        stored |= {node.target} if options is None else set()
    return found


def _cost(graph: fx.GraphModule, kind: str, node: fx.Node, options: Options | None, numbers: dict[str, int]) -> Cost:
    outputs = numbers[node.name]
    weight_bytes, output_bytes = _bytes(options)
    if kind in ("add", "pool"):
        operations = outputs if kind == "add" else numbers[node.all_input_nodes[0].name]
        scales = 0.0 if options is None or not options.quantized else output_bytes
        return Cost(0.0, scales, outputs * output_bytes, operations)
    layer = graph.get_submodule(node.target)
    weight, channels = layer.weight, len(layer.weight)
    # a merged batch norm gives every layer a bias
    biased = layer.bias is not None or (options is not None and options.merge_batch_norm and _normed(graph, node))
    weights = weight.numel() * weight_bytes + biased * channels * BIAS_BYTES
    scales = 0.0
    if options is not None and options.quantized and options.float_format is None:
        grids = channels if options.per_channel_quant and kind != "linear" else 1
        zero_points = 0.0 if options.symmetric_weights else weight_bytes
        scales = grids * (MULTIPLIER_BYTES + SHIFT_BYTES + zero_points) + output_bytes
    return Cost(weights, scales, outputs * output_bytes, outputs * weight[0].numel())


def _bytes(options: Options | None) -> tuple[float, float]:
    """Of a weight and of an activation."""
    if options is None or not options.quantized:
        return FLOAT_BYTES, FLOAT_BYTES
    if options.float_format is not None:
        bits = 1 + options.float_format.exponent_bits + options.float_format.mantissa_bits
        return bits / 8, bits / 8
    return options.bits_of_weights / 8, options.num_bits / 8


def _normed(graph: fx.GraphModule, node: fx.Node) -> bool:
    users = [user for user in node.users if user.op == "call_module"]
    return any(isinstance(graph.get_submodule(user.target), nn.BatchNorm1d | nn.BatchNorm2d) for user in users)
