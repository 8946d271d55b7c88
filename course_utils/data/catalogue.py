"""Which data there is here, and the data of a lab that should run anywhere.

Stands on `cifar`, `generated` and `places`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from course_utils.data import cifar, generated
from course_utils.data.places import places

__all__ = ["DataSet", "ImageSet", "classification_data", "describe"]


@dataclass(frozen=True)
class ImageSet:
    """Labelled images, and which they are.

    Attributes:
        name: ``"cifar10"`` or ``"shapes"``; the weights trained on it are ``"classyclassifier-<name>"``.
        images: uint8 (N, 3, 32, 32), RGB 0..255.
        labels: int64 (N,), indices into ``classes``.
        classes: the ten names.
        note: one line for the reader, which data this is and where it came from.
    """

    name: str
    images: torch.Tensor
    labels: torch.Tensor
    classes: tuple[str, ...]
    note: str


def classification_data(train: bool, root: str | Path | None = None) -> ImageSet:
    """CIFAR-10 if it is here, else the generated shapes (10,000 images of each set).

    Args:
        train: the training set or the test set.
        root: see `cifar.cifar10`.

    Raises:
        DataError: if CIFAR-10 is here but damaged; it is not replaced by shapes behind your back.
    """
    part = "training" if train else "test"
    folder = cifar.find(root)
    if folder is not None:
        images, labels = cifar.cifar10(train, root)
        note = f"Data: CIFAR-10, {len(images):,} {part} images from {folder}"
        return ImageSet("cifar10", images, labels, cifar.CLASSES, note)
    images, labels = generated.shapes(train)
    note = (
        f"Data: generated shapes, {len(images):,} {part} images, because CIFAR-10 is not here "
        "(`course data --fetch cifar10` fetches it)"
    )
    return ImageSet("shapes", images, labels, generated.CLASSES, note)


@dataclass(frozen=True)
class DataSet:
    """One row of the list of data sets.

    Attributes:
        name: as `fetch` and the weights name it.
        about: what it is, one line.
        found: where it is, or None if it is not here.
        hint: what to do if it is not here; empty if it is.
    """

    name: str
    about: str
    found: str | None
    hint: str


def describe(root: str | Path | None = None) -> list[DataSet]:
    """Every data set of the course and where it is found; nothing is read or verified."""
    folder = cifar.find(root)
    looked = ", ".join(str(place) for place in places(root))
    return [
        DataSet(
            "cifar10",
            "CIFAR-10, 50,000 training and 10,000 test images, 32 x 32 RGB, ten classes",
            None if folder is None else str(folder),
            f"`course data --fetch cifar10` (looked in {looked})" if folder is None else "",
        ),
        DataSet("shapes", "shapes, drawn from a seed, 32 x 32 RGB, ten classes", "generated, always here", ""),
    ]
