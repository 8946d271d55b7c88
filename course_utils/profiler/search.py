"""Chooses how many bits each layer's weights get, for a budget of bytes or a drop of accuracy.

For each layer alone, the others in float, it is measured by how much the network's answers change: the divergence
(Kullback and Leibler's) of the recreated network's probabilities from the reference's, in nats, the mean over some
training images. That layers' divergences add up is taken for granted, which holds the less the larger they are; of all
choices within a budget that one is taken whose sum is the least, by dynamic programming. A drop is met by trying
budgets. Only what is measured in the end, on test images, tells what was lost; nothing is chosen by it.

A layer's choices: its weights' bits, from those in the configuration down to 2, and for convolutions one grid for the
tensor or one for each channel. All else stays as the configuration has it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, fx, nn

from course_utils.profiler.comparison import Outcome, difference
from course_utils.profiler.configuration import Configuration, configuration_text
from course_utils.profiler.cost import costs
from course_utils.profiler.errors import ProfilerError
from course_utils.profiler.experiment import Experiment, draw, run_on
from course_utils.profiler.guesses import first_and_fifth
from course_utils.profiler.options import Choice, Options
from course_utils.profiler.recreation import Recreation, Watch, by_kind, chosen_layers, inputs_of, recreate
from course_utils.profiler.subjects import Subject, subject

__all__ = ["FEWEST_BITS", "Frontier", "Pair", "Point", "Search", "Tried", "search", "search_on"]

FEWEST_BITS, MOST_BITS = 2, 8
"""What is tried for each layer, and the bits that it has in the configuration, if they are more."""

MOST = 2**14
"""See `Frontier`."""

BUDGETS = 100
"""How many budgets there are between the largest and the smallest, for a drop; a few of them are tried."""

Progress = Callable[[Iterable, str], Iterable]
"""What batches go through, and what is being done."""


@dataclass(frozen=True)
class Point:
    """One way to quantize one layer.

    Attributes:
        size: bytes of its weights and scales.
        harm: mean divergence of the network's probabilities when this layer alone is so, in nats.
    """

    options: Options
    size: float
    harm: float


@dataclass(frozen=True)
class Tried:
    """A network, and what it made of the test images.

    Attributes:
        options: layer -> how it is quantized.
        size: bytes of all weights and scales, of layers that are not searched, too.
    """

    options: dict[str, Options]
    size: int
    outcome: Outcome


@dataclass(frozen=True)
class Pair:
    """The same bits for all layers, and the choice layer by layer that takes no more bytes."""

    bits: int
    uniform: Tried
    mixed: Tried


@dataclass(frozen=True)
class Search:
    """
    Attributes:
        asked: the configuration among whose layers it was chosen.
        configuration: the same with the layers as they were chosen, and a text to be written to a file.
        request: the budget or the drop, in words.
        samples: training images on which it was chosen.
        points: layer -> everything that was measured.
        reference: what the reference made of the test images.
        pairs: from many bits to few.
        chosen: the network of ``configuration``.
        measured_drop: of its top-1 accuracy against the reference on the training images that it was chosen on, in
            points, and its standard error; None if a budget was asked for.
    """

    asked: Configuration
    configuration: Configuration
    request: str
    samples: int
    points: dict[str, list[Point]]
    reference: Outcome
    pairs: list[Pair]
    chosen: Tried
    measured_drop: tuple[float, float] | None


def search(
    configuration: Configuration,
    *,
    budget: int | None = None,
    drop: float | None = None,
    find: Callable[[str, str | None], Subject] = subject,
    progress: Progress = lambda batches, what: batches,
) -> tuple[Search, Experiment]:
    """Searches on one of the course's networks and its data, and runs what was chosen; ``find`` as in `run`.

    Raises:
        WeightsError, DataError, ProfilerError: see `run` and `search_on`.
    """
    on = find(configuration.network, configuration.data)
    drawn = draw(on, configuration, configuration.search_samples)
    tested = (on.model, drawn.images, drawn.labels, drawn.calibration)
    found = search_on(
        *(*tested, drawn.samples, drawn.sample_labels, configuration),
        prepare=on.prepare,
        budget=budget,
        drop=drop,
        progress=progress,
    )
    experiment = run_on(
        *(*tested, found.configuration),
        prepare=on.prepare,
        fully_quantized=on.fully_quantized,
        data=on.note,
        classes=on.classes,
        progress=lambda batches: progress(batches, "layer by layer"),
    )
    return found, experiment


def search_on(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    calibration: Tensor,
    samples: Tensor,
    sample_labels: Tensor,
    configuration: Configuration,
    *,
    prepare: Callable[[Tensor], Tensor] = lambda images: images,
    budget: int | None = None,
    drop: float | None = None,
    progress: Progress = lambda batches, what: batches,
) -> Search:
    """Searches among the layers that a configuration chooses.

    Args:
        model, calibration: see `recreate`.
        images, labels: what is reported on; nothing is chosen by them.
        samples, sample_labels: what is chosen on; not among ``images``.
        prepare: what batches of images and samples, and all of ``calibration``, go through before networks see them.
        budget: bytes of all weights and scales that the network may have; or
        drop: percentage points of top-1 accuracy that it may lose on ``samples``.

    Raises:
        ProfilerError: if there is nothing to search, or no way to meet the budget or the drop.
    """
    if (budget is None) == (drop is None):
        raise ProfilerError("a search needs either a budget or a drop")
    if drop is not None and not drop >= 0:  # NaN, too
        raise ProfilerError(f"a drop is a number of points from 0 on, not {drop}")
    batch_size, observers = configuration.batch_size, {}
    batches = prepare(calibration).split(batch_size)

    def made(options: dict[str, Options]) -> Recreation:
        choices = [Choice(name, None, own) for name, own in options.items()]
        return recreate(model, choices, batches, ranges=configuration.ranges, observers=observers)

    def outcome(network: nn.Module, x: Tensor, y: Tensor, what: str) -> Outcome:
        return _outcome(lambda part: network(prepare(part)), x, y, batch_size, lambda parts: progress(parts, what))

    start = recreate(model, configuration.choices, batches, ranges=configuration.ranges, observers=observers)
    given = chosen_layers(start.reference, configuration.choices)
    ways = _ways(start)
    if not ways:
        raise ProfilerError("no chosen layer has weights in whole numbers: there is nothing to search")
    fixed = sum(
        cost.weights + cost.scales for name, cost in costs(start, prepare(samples[:1])).items() if name not in ways
    )
    points = _measured(made, given, ways, samples, prepare, batch_size, progress)
    frontier = Frontier(points)
    smallest, largest = (math.ceil(fixed + size) for size in frontier.sizes[[0, -1]])

    def options_of(chosen: dict[str, Point]) -> dict[str, Options]:
        return given | {name: point.options for name, point in chosen.items()}

    def tried(chosen: dict[str, Point], what: str) -> Tried:
        options, size = options_of(chosen), math.ceil(fixed + sum(point.size for point in chosen.values()))
        return Tried(options, size, outcome(made(options).recreated, images, labels, what))

    measured_drop = None
    if budget is not None:
        request = f"a budget of {budget:,} bytes"
        if budget < smallest:
            told = f"the smallest network that these layers allow has {smallest:,}"
            raise ProfilerError(f"{request} cannot be met: {told}")
    else:
        request = f"a drop of at most {drop:g} points"
        own = outcome(start.reference, samples, sample_labels, "the reference, on training images")
        ratio = (smallest / largest) ** (1 / BUDGETS)
        budgets = [largest, *(math.ceil(largest * ratio**n) for n in range(1, BUDGETS)), smallest]

        def lost(number: int) -> tuple[float, float]:
            network = made(options_of(frontier.within(budgets[number] - fixed))).recreated
            by, error, _ = difference(own, outcome(network, samples, sample_labels, f"{budgets[number]:,} bytes"))
            return 100 * (0 - by), 100 * error  # not -0.0

        number, measured_drop = _last_within(len(budgets), lost, drop)
        if number is None:
            told = f"{measured_drop[0]:.2f} ± {measured_drop[1]:.2f} points on {len(samples):,} training images"
            raise ProfilerError(f"{request} cannot be met: at its best ({largest:,} bytes) the network loses {told}")
        budget = budgets[number]

    reference = outcome(start.reference, images, labels, "the reference")
    chosen = tried(frontier.within(budget - fixed), "the chosen network")
    pairs = []
    for bits in range(max(given[name].bits_of_weights for name in ways), FEWEST_BITS - 1, -1):
        if not any(point.options.bits_of_weights == bits for own in points.values() for point in own):
            continue
        uniform = tried(_uniform(points, given, bits), f"{bits} bits everywhere")
        mixed = tried(frontier.within(uniform.size - fixed), f"layer by layer, as small as {bits} bits")
        pairs.append(Pair(bits, uniform, mixed))
    choices = tuple(Choice(name, None, own) for name, own in chosen.options.items())
    found = replace(configuration, choices=choices)
    told = f"Chosen for {request}, on {len(samples):,} training images."
    found = replace(found, text=configuration_text(found, told))
    return Search(configuration, found, request, len(samples), points, reference, pairs, chosen, measured_drop)


def _ways(made: Recreation) -> dict[str, list[Options]]:
    """Layer -> all ways to quantize it that are tried."""
    kinds = {node.name: kind for kind, nodes in by_kind(made.reference).items() for node in nodes}
    ways = {}
    for name, start in made.replaced.items():
        if kinds[name] not in ("conv", "depthwise", "linear") or not start.quantized or start.float_format is not None:
            continue
        most = start.bits_of_weights
        bits = [most, *range(min(most - 1, MOST_BITS), FEWEST_BITS - 1, -1)]
        per_channel = [start.per_channel_quant, *([] if kinds[name] == "linear" else [not start.per_channel_quant])]
        ways[name] = [replace(start, weight_bits=b, per_channel_quant=grids) for b in bits for grids in per_channel]
    return ways


def _measured(
    made: Callable[[dict[str, Options]], Recreation],
    given: dict[str, Options],
    ways: dict[str, list[Options]],
    samples: Tensor,
    prepare: Callable[[Tensor], Tensor],
    batch_size: int,
    progress: Progress,
) -> dict[str, list[Point]]:
    """Sizes and harms of all ways of all layers."""
    rounds = max(map(len, ways.values()))
    found: dict[str, list[Point]] = {name: [] for name in ways}

    def all_batches() -> Iterator[tuple[int, Tensor]]:
        for number in range(rounds):
            for batch in samples.split(batch_size):
                yield number, prepare(batch)

    harms: dict[str, float] = {}
    now, count = -1, rounds * -(-len(samples) // batch_size)

    def finish() -> None:
        sizes = costs(network, prepare(samples[:1]))
        for name, harm in harms.items():
            own = sizes[name]
            found[name].append(Point(ways[name][now], own.weights + own.scales, harm / len(samples)))

    for number, batch in progress(_Counted(all_batches(), count), "sensitivities"):
        if number != now:
            if harms:
                finish()
            now = number
            present = {name: options[number] for name, options in ways.items() if number < len(options)}
            network = made(given | present)
            harms = dict.fromkeys(present, 0.0)
        _add_harms(network, batch, harms)
    finish()
    return found


class _Counted:
    """An iterator with a length, for a progress bar."""

    def __init__(self, items: Iterator, count: int):
        self.items, self.count = items, count

    def __iter__(self) -> Iterator:
        return self.items

    def __len__(self) -> int:
        return self.count


def _add_harms(made: Recreation, batch: Tensor, harms: dict[str, float]) -> None:
    """Adds, for each layer alone, what the batch's images say: the sum of their divergences."""
    values: dict[str, object] = {}
    with torch.no_grad():
        reference = Watch(made.reference, values.__setitem__).run(batch).double().log_softmax(1)
        for name in harms:
            new = made.recreated.get_submodule(f"{name}_recreated")
            node = next(node for node in made.reference.graph.nodes if node.name == name)
            inputs = [values[argument.name] for argument in inputs_of(node)]
            last = made.stands_for[f"{name}_recreated"]
            logits = _rest(made.reference, values, last, new(*inputs))
            recreated = logits.double().log_softmax(1)
            harms[name] += float((reference.exp() * (reference - recreated)).sum())


def _rest(graph: fx.GraphModule, values: dict[str, object], last: str, value: Tensor) -> Tensor:
    """The network's output when the node ``last`` gives another value."""
    known = {}
    for node in graph.graph.nodes:
        if node.name == last:
            break
        known[node] = values[node.name]
    return fx.Interpreter(graph).run(initial_env=known | {node: value})


class Frontier:
    """All ways to quantize all layers that no other beats in both bytes and the sum of harms, smallest first.

    Layer after layer is added, and what is beaten is dropped. Where more than `MOST` are left, of those that have
    nearly the same size, to one part in `MOST` of the range, only the one with the least harm goes on.

    Attributes:
        sizes: bytes of all layers together, float64, rising.
    """

    def __init__(self, points: dict[str, list[Point]]):
        self.points = points
        self.sizes, harms = np.zeros(1), np.zeros(1)
        self._from: list[tuple[np.ndarray, np.ndarray]] = []  # for each layer: which way before it, and which for it
        for own in points.values():
            sizes = np.add.outer(self.sizes, [point.size for point in own]).ravel()
            sums = np.add.outer(harms, [point.harm for point in own]).ravel()
            order = np.lexsort((sums, sizes))
            least = np.minimum.accumulate(sums[order])
            order = order[np.append(True, least[1:] < least[:-1])]
            if len(order) > MOST:
                part = (sizes[order] - sizes[order[0]]) * (MOST / (sizes[order[-1]] - sizes[order[0]]))
                order = order[np.append(np.diff(part.astype(int)) > 0, True) | (np.arange(len(order)) == 0)]
            self.sizes, harms = sizes[order], sums[order]
            self._from.append(np.divmod(order, len(own)))

    def within(self, room: float) -> dict[str, Point]:
        """Of those that fit the one with the least harm: layer -> its way.

        Args:
            room: bytes, not less than the smallest takes.
        """
        at = int(np.searchsorted(self.sizes, room, side="right")) - 1
        ways = []
        for before, way in reversed(self._from):
            ways.append(way[at])
            at = before[at]
        return {name: self.points[name][way] for name, way in zip(self.points, reversed(ways), strict=True)}


def _uniform(points: dict[str, list[Point]], given: dict[str, Options], bits: int) -> dict[str, Point]:
    """So many bits for all layers, or as many as a layer has in the configuration, with grids as they are there."""
    return {name: _as_given(own, given[name], bits) for name, own in points.items()}


def _as_given(own: list[Point], given: Options, bits: int) -> Point:
    same = [point for point in own if point.options.per_channel_quant == given.per_channel_quant]
    return max((p for p in same if p.options.bits_of_weights <= bits), key=lambda p: p.options.bits_of_weights)


def _last_within(
    count: int, lost: Callable[[int], tuple[float, float]], drop: float
) -> tuple[int | None, tuple[float, float]]:
    """Number of a step that meets the drop while the next one does not, by halving, and what it loses; None, and what
    the first step loses, if that does not meet it."""
    best, told = 0, lost(0)
    if told[0] > drop:
        return None, told
    beyond = count
    while beyond - best > 1:
        middle = (best + beyond) // 2
        own = lost(middle)
        if own[0] <= drop:
            best, told = middle, own
        else:
            beyond = middle
    return best, told


def _outcome(
    network: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor, batch_size: int, progress: Callable
) -> Outcome:
    parts = list(zip(images.split(batch_size), labels.split(batch_size), strict=True))
    with torch.no_grad():
        seen = [first_and_fifth(network(x), y) for x, y in progress(parts)]
    return Outcome(*(torch.cat(part) for part in zip(*seen, strict=True)))
