"""Ristretto's automatic search: how few bits each part of a network needs.

First each part alone, with the rest in float: from the longest word to the shortest, until the network loses more than
is allowed. Then all parts together, each with the fewest bits that it alone could do with. Together they may lose more;
that is told, and it is what fine-tuning is for.

Source: P. Gysel, arXiv:1605.06402, section 4. Stands on `formats`, `layers` and `course_utils.networks.accuracy`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from course_utils.networks.models import accuracy
from course_utils.numerics import FixedPoint
from course_utils.ristretto.formats import (
    MOST_EXPONENT_BITS,
    SYSTEMS,
    LayerFormats,
    exponent_bits_by_rule,
    fixed_point_for,
    minifloat,
    powers_of_two_for,
)
from course_utils.ristretto.layers import Ranges, measure, quantized, replaceable_layers

__all__ = ["PARTS", "TOGETHER", "Trial", "Trimmed", "formats_of", "progress_bar", "trim"]

PARTS = ("convolution weights", "fully connected weights", "layer outputs")
TOGETHER = "together"
EPSILON = 1e-9  # accuracies are fractions with whole numbers above and below; this is less than one image


@dataclass(frozen=True)
class Trial:
    """One network that was tried.

    Attributes:
        part: one of `PARTS`, with everything else in float; or `TOGETHER`.
        bits: of the part's words; for `TOGETHER` None, unless all parts have the same.
        format: in few words.
        accuracy: None if there is no such format.
        within: whether it loses no more than is allowed.
        chosen: whether it is what the search ends with.
        note: why there is no such format.
    """

    part: str
    bits: int | None
    format: str
    accuracy: float | None
    within: bool = False
    chosen: bool = False
    note: str = ""


@dataclass(frozen=True)
class Trimmed:
    """What `trim` found.

    Attributes:
        system: one of `SYSTEMS`.
        allowed_drop: as it was asked for.
        float_accuracy, accuracy: of the network as it was, and of the trimmed one, on the same images.
        within: whether the trimmed network loses no more than is allowed.
        word_lengths: part -> bits; None where even the longest word lost too much, and the part stays float. (Of fixed
            point: `TOGETHER` -> bits.)
        formats: path of a layer -> its formats.
        network: the trimmed network, as `quantized` makes it.
        trials: everything that was tried, in order.
    """

    system: str
    allowed_drop: float
    float_accuracy: float
    accuracy: float
    within: bool
    word_lengths: dict[str, int | None]
    formats: dict[str, LayerFormats]
    network: nn.Module
    trials: tuple[Trial, ...]

    def __str__(self) -> str:
        rows = [("part", "bits", "format", "accuracy", ""), ("float", "32", "", _percent(self.float_accuracy), "")]
        for trial in self.trials:
            told = "chosen" if trial.chosen else ""
            if trial.accuracy is None:
                told = trial.note
            elif not trial.within:
                told = "chosen, but loses too much" if trial.chosen else "loses too much"
            rows.append((trial.part, str(trial.bits or ""), trial.format, _percent(trial.accuracy), told))
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        return "\n".join("  ".join(map(str.ljust, row, (*widths, 0))).rstrip() for row in rows)


def trim(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    system: str = "dynamic_fixed_point",
    *,
    allowed_drop: float = 0.01,
    word_lengths: Sequence[int] = (16, 8, 4, 2),
    calibration: Tensor | None = None,
    exponent_bits: int | str = "rule",
    subnormals: bool = True,
    spared: int = 0,
    progress: bool = True,
) -> Trimmed:
    """Searches the fewest bits for each part of a network.

    Args:
        network: in eval mode, maps float images to logits; not changed. See `measure` about batch norms.
        images: float (N, ...), as the network takes them.
        labels: integers (N,).
        system: one of `SYSTEMS`. ``"power_of_two"`` is of weights; layer outputs are in dynamic fixed point there.
            ``"fixed_point"`` is one format for everything, whose splits Qm.n are all tried.
        allowed_drop: of the accuracy, as a fraction: 0.01 is one point.
        word_lengths: what is tried, longest first.
        calibration: float images whose largest activations decide; by default the first 1,000 of ``images``.
        exponent_bits: of minifloats: a number; ``"rule"``: Ristretto's, from the network's largest activation; or
            ``"search"``: the one with the best accuracy on ``images``, for each part and word length.
        subnormals: whether minifloats have them.
        spared: of dynamic fixed point, integer bits that are taken away from layer inputs and outputs.
        progress: whether a bar is drawn.

    Raises:
        ValueError: if an argument is not one of these, or for what `measure` and `accuracy` refuse.
    """
    _require(system, allowed_drop, word_lengths, exponent_bits)
    if spared and system not in ("dynamic_fixed_point", "power_of_two"):
        raise ValueError(f"only words of dynamic fixed point can be spared bits, not those of {system}")
    replaceable_layers(network)
    before = accuracy(network, images, labels)
    ranges = measure(network, images[:1000] if calibration is None else calibration)
    parts = (TOGETHER,) if system == "fixed_point" else _parts_of(ranges)
    settings = (system, ranges, exponent_bits, subnormals, spared)

    trials: list[Trial] = []
    best: dict[str, tuple[int | None, dict[str, LayerFormats]]] = {part: (None, {}) for part in parts}
    with progress_bar(progress) as bar:
        task = bar.add_task("trim", total=len(parts) * len(word_lengths) + (len(parts) > 1))

        def scored(part: str, bits: int | None, name: str, formats: dict[str, LayerFormats]) -> Trial:
            result = accuracy(quantized(network, formats), images, labels)
            return Trial(part, bits, name, result, before - result <= allowed_drop + EPSILON)

        for number, part in enumerate(parts, start=1):
            chosen = None
            for bits in word_lengths:
                bar.update(task, description=f"{part}, {bits} bits")
                tried = []
                for name, formats in _candidates(part, bits, *settings):
                    if isinstance(formats, str):
                        trials.append(Trial(part, bits, name, None, note=formats))
                        continue
                    trials.append(scored(part, bits, name, formats))
                    tried.append((trials[-1].accuracy, len(trials) - 1, formats))
                bar.advance(task)
                if not tried:
                    continue
                _, place, formats = max(tried, key=lambda t: t[0])  # of equals the first
                if not trials[place].within:
                    break
                chosen, best[part] = place, (bits, formats)
            bar.update(task, completed=number * len(word_lengths))
            if chosen is not None:
                trials[chosen] = replace(trials[chosen], chosen=True)

        formats = _merged([formats for _, formats in best.values()])
        after = next((t.accuracy for t in trials if t.chosen), before) if len(parts) == 1 else None
        if len(parts) > 1:
            bar.update(task, description=TOGETHER)
            words = {bits for bits, _ in best.values()}
            name = ", ".join("float" if bits is None else str(bits) for bits, _ in best.values())
            together = scored(TOGETHER, words.pop() if len(words) == 1 else None, name, formats)
            trials.append(replace(together, chosen=True))
            after = together.accuracy
            bar.advance(task)
    return Trimmed(
        system=system,
        allowed_drop=allowed_drop,
        float_accuracy=before,
        accuracy=after,
        within=before - after <= allowed_drop + EPSILON,
        word_lengths={part: bits for part, (bits, _) in best.items()},
        formats=formats,
        network=quantized(network, formats),
        trials=tuple(trials),
    )


def formats_of(
    system: str,
    ranges: Mapping[str, Ranges],
    word_lengths: Mapping[str, int | None],
    *,
    exponent_bits: int | str = "rule",
    subnormals: bool = True,
    spared: int = 0,
) -> dict[str, LayerFormats]:
    """The formats of all layers at given word lengths, without a search.

    Args:
        system: ``"dynamic_fixed_point"``, ``"minifloat"`` or ``"power_of_two"``.
        ranges: what `measure` returned.
        word_lengths: part -> bits; parts that are missing, or None, stay float.
        exponent_bits, subnormals, spared: as `trim` has them, but for ``"search"``.

    Raises:
        ValueError: if an argument is not one of these, or there is no such format.
    """
    lengths = {part: bits for part, bits in word_lengths.items() if bits is not None}
    if exponent_bits == "search" or system == "fixed_point":
        raise ValueError("searching exponent bits, or the split of a fixed-point format, takes trim")
    if unknown := lengths.keys() - set(PARTS):
        raise ValueError(f"parts are {', '.join(PARTS)}, not {sorted(unknown)[0]!r}")
    _require(system, 0, (*sorted(set(lengths.values()), reverse=True),) or (16,), exponent_bits)
    found = []
    for part, bits in lengths.items():
        ((_, formats),) = _candidates(part, bits, system, ranges, exponent_bits, subnormals, spared)
        if isinstance(formats, str):
            raise ValueError(f"{part}: {formats}")
        found.append(formats)
    return _merged(found)


def progress_bar(shown: bool) -> Progress:
    """A bar that disappears when it is full."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, disable=not shown, transient=True)


def _percent(accuracy: float | None) -> str:
    return "-" if accuracy is None else f"{100 * accuracy:.2f} %"


def _require(system: str, allowed_drop: float, word_lengths: Sequence[int], exponent_bits: int | str) -> None:
    if system not in SYSTEMS:
        raise ValueError(f"system is one of {', '.join(SYSTEMS)}, not {system!r}")
    if not 0 <= allowed_drop <= 1:
        raise ValueError(f"allowed_drop is a fraction, 0 to 1, not {allowed_drop}")
    falling = list(word_lengths) == sorted(set(word_lengths), reverse=True)
    if not (word_lengths and falling and word_lengths[-1] >= 2 and word_lengths[0] <= 16):
        raise ValueError(f"word_lengths fall from 16 or less to 2 or more, not {tuple(word_lengths)}")
    if exponent_bits not in ("rule", "search", *range(1, MOST_EXPONENT_BITS + 1)):
        raise ValueError(f"exponent_bits is 'rule', 'search' or 1 to {MOST_EXPONENT_BITS}, not {exponent_bits!r}")


def _parts_of(ranges: Mapping[str, Ranges]) -> tuple[str, ...]:
    kinds = {own.convolution for own in ranges.values()}
    return tuple(part for part, there in zip(PARTS, (True in kinds, False in kinds, True), strict=True) if there)


def _candidates(
    part: str,
    bits: int,
    system: str,
    ranges: Mapping[str, Ranges],
    exponent_bits: int | str,
    subnormals: bool,
    spared: int,
) -> Iterator[tuple[str, dict[str, LayerFormats] | str]]:
    """Name and formats of each way to have this part in so many bits; instead of formats, why there are none."""
    if system == "fixed_point":
        for integer_bits in range(1, bits + 1):
            chosen = FixedPoint(integer_bits, bits - integer_bits)
            name = f"Q{chosen.integer_bits}.{chosen.fraction_bits}"
            yield name, {layer: LayerFormats(chosen, chosen, chosen) for layer in ranges}
    elif system == "minifloat":
        reach = max(max(own.input, own.output) for own in ranges.values())
        ways: Sequence[int] = [exponent_bits] if isinstance(exponent_bits, int) else [exponent_bits_by_rule(reach)]
        if exponent_bits == "search":
            ways = range(1, min(MOST_EXPONENT_BITS, bits - 2) + 1) or [1]
        for way in ways:
            try:
                chosen = minifloat(bits, way, subnormals)
            except ValueError as error:
                yield f"e{way}", str(error)
                continue
            yield str(chosen), _of_part(part, ranges, lambda _, chosen=chosen: chosen)
    elif part == "layer outputs":
        yield f"dynamic{bits}", _of_part(part, ranges, lambda x: fixed_point_for(x, bits, spared=spared))
    elif system == "power_of_two":
        yield f"power{bits}", _of_part(part, ranges, lambda x: powers_of_two_for(x, bits))
    else:
        yield f"dynamic{bits}", _of_part(part, ranges, lambda x: fixed_point_for(x, bits))


def _of_part(part: str, ranges: Mapping[str, Ranges], format_for) -> dict[str, LayerFormats]:
    """The layers of a part, with a format for each tensor from its largest magnitude."""
    if part == "layer outputs":
        return {
            name: LayerFormats(input=format_for(own.input), output=format_for(own.output))
            for name, own in ranges.items()
        }
    convolution = part == "convolution weights"
    return {
        name: LayerFormats(weight=format_for(own.weight))
        for name, own in ranges.items()
        if own.convolution == convolution
    }


def _merged(parts: Sequence[Mapping[str, LayerFormats]]) -> dict[str, LayerFormats]:
    """Each layer with the weight's format from one and the outputs' from another."""
    merged: dict[str, LayerFormats] = {}
    for formats in parts:
        for name, own in formats.items():
            given = {key: value for key, value in vars(own).items() if value is not None}
            merged[name] = replace(merged.get(name, LayerFormats()), **given)
    return merged
