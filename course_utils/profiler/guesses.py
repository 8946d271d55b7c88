"""What several networks make of one image after the other: running totals, and a line for each image (thesis,
Appendix B)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

__all__ = ["COLUMNS", "Batch", "Guess", "Totals", "first_and_fifth"]


@dataclass(frozen=True)
class Guess:
    """What one network made of one image.

    Attributes:
        network: its name.
        guess: the class with the largest output, by its name if it has one, else its number.
        probability: of that class: the softmax of the outputs.
        first, fifth: whether the label is the first guess, and among the first five.
    """

    network: str
    guess: str
    probability: float
    first: bool
    fifth: bool


COLUMNS = ("image", "label", "network", "guess", "probability", "top1", "top5")
"""Of a table with a row for each image and network."""


@dataclass(frozen=True)
class Batch:
    """Some images that all networks have seen.

    Attributes:
        start: number of the first one, from 0.
        labels: integers (n,).
        logits: network -> float (n, classes).
        classes: their names; they may be missing.
    """

    start: int
    labels: Tensor
    logits: dict[str, Tensor]
    classes: tuple[str, ...] = ()

    def images(self) -> Iterator[tuple[int, str, list[Guess]]]:
        """For each image its number, its label's name, and what each network made of it."""
        seen = {}
        for name, logits in self.logits.items():
            best = _best_five(logits)[:, 0]
            probabilities = logits.softmax(1).gather(1, best[:, None])[:, 0]
            numbers = (probabilities, best, *first_and_fifth(logits, self.labels))
            seen[name] = list(zip(*(part.tolist() for part in numbers), strict=True))
        for n, label in enumerate(self.labels.tolist()):
            guesses = [
                Guess(name, self._called(best), probability, first, fifth)
                for name, rows in seen.items()
                for probability, best, first, fifth in [rows[n]]
            ]
            yield self.start + n, self._called(label), guesses

    def lines(self) -> Iterator[str]:
        """For each image one line; a wrong guess is marked by ``!``, and ``!!`` if the label is not among five."""
        for number, label, guesses in self.images():
            told = (
                f"{g.network} {g.guess} {g.probability:.1%}{'' if g.first else ' !' if g.fifth else ' !!'}"
                for g in guesses
            )
            yield f"image {number}: label {label}; {'; '.join(told)}"

    def rows(self) -> Iterator[tuple[object, ...]]:
        """For each image and network a row of a table with `COLUMNS`."""
        for number, label, guesses in self.images():
            for g in guesses:
                yield number, label, g.network, g.guess, round(g.probability, 6), int(g.first), int(g.fifth)

    def _called(self, number: int) -> str:
        return self.classes[number] if number < len(self.classes) else str(number)


class Totals:
    """How many images each network got right so far."""

    def __init__(self) -> None:
        self.images = 0
        self.right: dict[str, tuple[int, int]] = {}  # network -> by the first guess, by the first five

    def add(self, batch: Batch) -> None:
        self.images += len(batch.labels)
        for name, logits in batch.logits.items():
            first, fifth = first_and_fifth(logits, batch.labels)
            before = self.right.get(name, (0, 0))
            self.right[name] = before[0] + int(first.sum()), before[1] + int(fifth.sum())

    def __str__(self) -> str:
        """A line for each network: top-1 and top-5."""
        if not self.images:
            return ""
        return "\n".join(
            f"{name}: {first / self.images:.1%}, top-5 {fifth / self.images:.1%}"
            for name, (first, fifth) in self.right.items()
        )


def first_and_fifth(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """
    Args:
        logits: (n, classes).
        labels: integers (n,).

    Returns:
        bool (n,) twice: whether the label is the first guess, and among the first five (or all, if there are fewer).
    """
    best = _best_five(logits) == labels[:, None]
    return best[:, 0], best.any(1)


def _best_five(logits: Tensor) -> Tensor:
    """Of equal outputs, which few bits often give, whichever `topk` puts first: for all that is told, the same one."""
    return logits.topk(min(5, logits.shape[1]), dim=1).indices
