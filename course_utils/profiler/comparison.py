"""Runs networks on the same images in one pass: how many labels each gets right, and where the recreated one's noise
is.

A difference of accuracies on the same images is judged by the images on which the two networks disagree (McNemar).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from course_utils.profiler.errors import ProfilerError
from course_utils.profiler.guesses import Batch, first_and_fifth
from course_utils.profiler.ratios import Ratio, RatioRecorder
from course_utils.profiler.recreation import Recreation, Watch, check_logits

__all__ = ["Outcome", "Profile", "difference", "profile"]

REFERENCE, RECREATED = "reference", "recreated"


@dataclass(frozen=True)
class Outcome:
    """What one network made of the images.

    Attributes:
        first, fifth: bool (N,): whether the label was the first guess, and among the first five (among all, if there
            are fewer classes).
    """

    first: Tensor
    fifth: Tensor

    @property
    def top1(self) -> float:
        return float(self.first.double().mean())

    @property
    def top5(self) -> float:
        return float(self.fifth.double().mean())


@dataclass(frozen=True)
class Profile:
    """
    Attributes:
        outcomes: network -> what it made of the images; "reference" and "recreated" come first.
        ratios: node of the recreated model, named as the node of the reference that it stands for -> its ratio.
    """

    outcomes: dict[str, Outcome]
    ratios: dict[str, Ratio]


def profile(
    recreation: Recreation,
    images: Tensor,
    labels: Tensor,
    *,
    others: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    prepare: Callable[[Tensor], Tensor] = lambda images: images,
    batch_size: int = 50,
    classes: tuple[str, ...] = (),
    progress: Callable[[Iterable], Iterable] = iter,
    each: Callable[[Batch], None] = lambda batch: None,
) -> Profile:
    """Runs the reference, its recreation and other networks, batch by batch.

    Args:
        recreation: see `recreate`.
        images: (N, ...), N > 0; float, as the model takes them, or what ``prepare`` makes such of.
        labels: integers (N,).
        others: name -> a network that maps the same images to logits: a fully quantized one, say.
        prepare: what a batch of images goes through before networks see it.
        batch_size: images at a time. Memory grows with it, not with N.
        classes: names of the classes, for ``each``.
        progress: what the batches go through: ``tqdm.tqdm``, say.
        each: is called with every batch when all networks have seen it.

    Raises:
        ProfilerError: if there is no image, not one label for each, another network is called as one of the two, a
            network gives no logits or NaN for an image, or what it computes cannot be compared.
    """
    if len(images) == 0 or len(images) != len(labels):
        raise ProfilerError(f"one label an image is needed, got {len(images)} images and {len(labels)} labels")
    others = dict(others or {})
    if taken := others.keys() & {REFERENCE, RECREATED}:
        raise ProfilerError(f"another network cannot be called {taken.pop()!r}")
    recorder = RatioRecorder()
    guesses: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in (REFERENCE, RECREATED, *others)}
    batches = list(zip(images.split(batch_size), labels.split(batch_size), strict=True))
    ends = {node.name for node in recreation.reference.graph.nodes if node.op in ("placeholder", "output")}
    seen: dict[str, tuple[Tensor, int]] = {}  # node of the reference -> its output for this batch, times it was written

    def keep(name: str, value: object) -> None:
        if isinstance(value, Tensor) and name not in ends:
            seen[name] = value, value._version

    def compare(name: str, value: object) -> None:
        original = recreation.stands_for[name]
        if original in seen:
            output, written = seen.pop(original)
            if output._version != written:
                raise ProfilerError(f"{original}: its output is changed in place later: it cannot be compared")
            recorder.add(original, output, value)

    start = 0
    with torch.no_grad():
        for x, y in progress(batches):
            seen.clear()
            x = prepare(x)
            logits = {REFERENCE: Watch(recreation.reference, keep).run(x)}
            logits[RECREATED] = Watch(recreation.recreated, compare).run(x)
            logits |= {name: network(x) for name, network in others.items()}
            for name, values in logits.items():
                if bool((wrong := check_logits(name, values, x).isnan().any(1)).any()):
                    raise ProfilerError(f"image {start + int(wrong.int().argmax())}: the outputs of {name} are NaN")
                guesses[name].append(first_and_fifth(values, y))
            each(Batch(start, y, logits, classes))
            start += len(y)
    outcomes = {name: Outcome(*(torch.cat(part) for part in zip(*all_, strict=True))) for name, all_ in guesses.items()}
    return Profile(outcomes, recorder.ratios())


def difference(first: Outcome, second: Outcome) -> tuple[float, float, float]:
    """How the top-1 accuracies of two networks on the same images differ.

    Returns:
        (second minus first, its standard error, the probability of so many one-sided disagreements or more if both
        networks were equally good: McNemar's exact test, two-sided). The error is sqrt(b + c - (b - c)^2 / N) / N,
        with b images right only for the first and c only for the second.

    Raises:
        ProfilerError: if they saw different numbers of images.
    """
    if len(first.first) != len(second.first):
        raise ProfilerError(f"{len(first.first)} and {len(second.first)} images are not the same ones")
    count = len(first.first)
    lost = int((first.first & ~second.first).sum())
    won = int((second.first & ~first.first).sum())
    error = math.sqrt(max(lost + won - (won - lost) ** 2 / count, 0.0)) / count
    disagreements, fewer = lost + won, min(lost, won)
    # exactly: sums of binomial coefficients are whole numbers of any length
    tail = sum(math.comb(disagreements, k) for k in range(fewer + 1))
    return (won - lost) / count, error, min(1.0, 2 * tail / 2**disagreements)
