"""The stored runs of ``data/train/train_deep_compression.py``, to read and to show.

Stands on `course_utils.networks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_utils.networks.models import WEIGHTS
from course_utils.networks.stored_table import TableError, read_stored, stored_path

__all__ = ["ClusterRun", "CurvePoint", "Stage", "Table", "TableError", "read_table"]


@dataclass(frozen=True)
class Stage:
    """
    Attributes:
        name: ``"float"``, ``"pruned"``, ``"retrained"``, ``"shared"``, ``"codebook trained"``, ``"huffman"``.
        accuracy: share of the test images.
        size: in bytes, without a file's frame.
        ratio: how many times smaller than float32.
    """

    name: str
    accuracy: float
    size: int
    ratio: float


@dataclass(frozen=True)
class ClusterRun:
    """A network whose weights were shared, accuracy before and after a short training of the codebooks.

    Attributes:
        pruned: whether it was pruned and retrained first.
        bits: of a code.
        init: how k-means began; with ``seed`` where by chance.
    """

    pruned: bool
    bits: int
    init: str
    seed: int
    before: float
    after: float


@dataclass(frozen=True)
class CurvePoint:
    """All layers pruned by one share, accuracy before and after a short retraining."""

    share: float
    before: float
    after: float


@dataclass(frozen=True)
class Table:
    """What a file says.

    Attributes:
        facts: of the run: ``network``, ``dataset``, ``test_images``, ``compared_on``, ``seed``, ``plan``, ``torch``,
            ``python``, ``script`` and others.
        stages: in the pipeline's order.
        file_bytes: of the compressed file on disk.
        parts: its bits by part, as `accounting.PARTS`.
        clusters, curve: as far as they were run; empty if they were not.
    """

    facts: dict[str, Any]
    stages: tuple[Stage, ...]
    file_bytes: int
    parts: dict[str, int]
    clusters: tuple[ClusterRun, ...]
    curve: tuple[CurvePoint, ...]


def read_table(network: str, folder: Path = WEIGHTS) -> Table:
    """The table of a network, such as ``"classyclassifier-cifar10"``.

    Raises:
        TableError: if there is none, or the file is damaged.
    """

    def table(stored: dict[str, Any]) -> Table:
        last = stored["stages"][-1]
        return Table(
            facts=dict(stored["facts"]),
            stages=tuple(Stage(s["stage"], s["accuracy"], s["bytes"], s["ratio"]) for s in stored["stages"]),
            file_bytes=last["file_bytes"],
            parts=dict(last["parts"]),
            clusters=tuple(
                ClusterRun(*(run[key] for key in ("pruned", "bits", "init", "seed", "before", "after")))
                for run in stored["clusters"]
            ),
            curve=tuple(CurvePoint(run["share"], run["before"], run["after"]) for run in stored["curve"]),
        )

    path = stored_path("deep_compression", network, folder)
    return read_stored(path, table, "data/train/train_deep_compression.py")
