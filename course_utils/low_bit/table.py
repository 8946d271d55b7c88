"""The stored tables of the methods, trained by ``data/train/train_low_bit.py``, to read and to show.

Stands on `methods` and `course_utils.networks`.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_utils.low_bit.methods import METHODS
from course_utils.networks.models import WEIGHTS
from course_utils.networks.stored_table import TableError, read_stored, stored_path

__all__ = ["Line", "Table", "TableError", "read_table"]


@dataclass(frozen=True)
class Line:
    """A method, trained with several seeds.

    Attributes:
        method: its name in `methods.METHODS`.
        ends: whether the first and the last layer were quantized, too.
        weight_bits, activation_bits: of what was quantized; 32 is float.
        accuracies: share of the test images, one for each seed.
        mean, spread: of the accuracies; the spread is the standard deviation, of a sample (0 for one seed).
        loss: percentage points below the float network, on average over the seeds of this line.
        alexnet_loss: the lecture's, percentage points of top-5 accuracy; None where it has none.
    """

    method: str
    ends: bool
    weight_bits: int
    activation_bits: int
    accuracies: tuple[float, ...]
    mean: float
    spread: float
    loss: float
    alexnet_loss: float | None


@dataclass(frozen=True)
class Table:
    """What a file says.

    Attributes:
        facts: of the training: ``dataset``, ``steps``, ``batch``, ``training_images``, ``test_images``, ``epochs``,
            ``network``, ``torch``, ``python``, ``script``.
        lines: in the lecture's order, the float network first.
    """

    facts: dict[str, Any]
    lines: tuple[Line, ...]

    def line(self, method: str, ends: bool | None = None) -> Line:
        """The line of a method; by default as its paper treats the first and the last layer.

        Raises:
            KeyError: if the table has no such line.
        """
        for line in self.lines:
            if line.method == method and line.ends == ((not METHODS[method].keeps_ends) if ends is None else ends):
                return line
        raise KeyError(f"no line for {method!r} with ends={ends}")


def read_table(dataset: str, folder: Path = WEIGHTS) -> Table:
    """The table of a data set, ``"cifar10"`` or ``"shapes"``.

    Raises:
        TableError: if there is none, or the file is damaged.
    """

    def table(stored: dict[str, Any]) -> Table:
        runs: dict[tuple[str, bool], dict[int, float]] = {}
        for run in stored["runs"]:
            runs.setdefault((run["method"], run["ends"]), {})[run["seed"]] = float(run["accuracy"])
        floats = runs["float", False]
        lines = [
            _line(name, ends, runs[name, ends], floats)
            for name in METHODS
            for ends in (False, True)
            if (name, ends) in runs
        ]
        return Table(stored["facts"], tuple(lines))

    return read_stored(stored_path("low_bit", dataset, folder), table, "data/train/train_low_bit.py")


def _line(name: str, ends: bool, runs: dict[int, float], floats: dict[int, float]) -> Line:
    method, accuracies = METHODS[name], tuple(runs.values())
    spread = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
    loss = 100 * statistics.fmean(floats[seed] - accuracy for seed, accuracy in runs.items())
    bits = method.weight_bits, method.activation_bits
    return Line(name, ends, *bits, accuracies, statistics.fmean(accuracies), spread, loss, method.alexnet_loss)
