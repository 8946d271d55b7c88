"""Which data there is here, and the data of a lab that should run anywhere.

Stands on `cifar`, `imagenet`, `mnist`, `photos`, `generated`, `generated_scenes` and `places`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from course_utils import COMMAND
from course_utils.data import cifar, generated, generated_scenes, imagenet, mnist, photos
from course_utils.data.places import DataError, places, remedy

__all__ = ["DataSet", "DetectionSet", "ImageSet", "classification_data", "describe", "detection_data"]

_GENERATED = "generated, always here"
_PHOTOS = {
    "coco": "168 photos of COCO's 2017 validation set with boxes, 80 classes",
    "coco-train": "88 photos of COCO's 2017 training set with boxes, 80 classes",
    "retail": "229 shelf photos with boxes, 60 classes",
}
_MNIST = "MNIST, 60,000 training and 10,000 test images of digits, 28 x 28 grey"
_IMAGENET = {
    "imagenet": "250 crops of ImageNet, 224 x 224 RGB, every fourth of 1,000 classes",
    "imagenet_val": "942 photos of ImageNet's validation set, 227 x 227 RGB, 609 of 1,000 classes",
}


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


def classification_data(
    train: bool, root: str | Path | None = None, name: str | None = None, count: int | None = None
) -> ImageSet:
    """CIFAR-10 if it is here, else the generated shapes (10,000 images of each set); or the one that is asked for.

    Args:
        train: the training set or the test set.
        root: see `cifar.cifar10`.
        name: ``"cifar10"`` or ``"shapes"``, if not what is here.
        count: how many images, from the first one on; by default all. Fewer shapes are drawn sooner; of CIFAR-10 there
            are no more than there are.

    Raises:
        DataError: if CIFAR-10 is here but damaged, or asked for and not here; it is not replaced by shapes behind your
            back. Or if no set is called so.
        ValueError: if the count is negative.
    """
    if count is not None and count < 0:
        raise ValueError(f"a count of images is 0 or more, not {count}")
    if name not in (None, "cifar10", "shapes"):
        raise DataError(f"no set of images is called {name!r}; there are cifar10, shapes")
    part = "training" if train else "test"
    folder = cifar.find(root)
    if name == "cifar10" or (name is None and folder is not None):
        images, labels = (of_all[:count] for of_all in cifar.cifar10(train, root))
        note = f"Data: CIFAR-10, {len(images):,} {part} images from {folder}"
        return ImageSet("cifar10", images, labels, cifar.CLASSES, note)
    images, labels = generated.shapes(train, 10_000 if count is None else count)
    note = f"Data: generated shapes, {len(images):,} {part} images"
    if name is None:
        note += f", because CIFAR-10 is not here (`{COMMAND} data --fetch cifar10` fetches it)"
    return ImageSet("shapes", images, labels, generated.CLASSES, note)


@dataclass(frozen=True)
class DetectionSet:
    """Images with boxes, and which they are.

    Attributes:
        name: ``"retail"``, ``"coco"``, ``"coco-train"`` or ``"scenes"``; `course_utils.networks.detector` gives the
            network for it.
        images: for each image uint8 (3, height, width), RGB 0..255; photos differ in size.
        boxes: for each image float32 (n, 4): left, top, right, bottom in pixels of the image.
        labels: for each image int64 (n,), indices into ``classes``.
        classes: the names.
        note: one line for the reader, which data this is and where it came from.
    """

    name: str
    images: list[torch.Tensor]
    boxes: list[torch.Tensor]
    labels: list[torch.Tensor]
    classes: tuple[str, ...]
    note: str

    def __len__(self) -> int:
        return len(self.images)


def detection_data(name: str | None = None, count: int | None = None, root: str | Path | None = None) -> DetectionSet:
    """Photos or scenes with boxes, to test a detector on.

    Args:
        name: ``"retail"``, ``"coco"``, ``"coco-train"``, ``"scenes"`` (test scenes) or ``"scenes-train"``; by default
            the retail photos if they are here, else the scenes.
        count: how many images; by default all photos, or 500 scenes.
        root: see `photos.photos`.

    Raises:
        DataError: if the photos that are asked for are not here, or are damaged.
    """
    if name is None:
        name = "retail" if photos.find("retail", root) else "scenes"
    if name in ("scenes", "scenes-train"):
        train = name == "scenes-train"
        images, boxes, labels = generated_scenes.scenes(train, 500 if count is None else count)
        note = f"Data: generated scenes, {len(images):,} {'training' if train else 'test'} images"
        return DetectionSet("scenes", list(images), boxes, labels, generated_scenes.CLASSES, note)
    images, boxes, labels, classes = photos.photos(name, root, count)
    note = f"Data: {name}, {len(images):,} photos from {photos.find(name, root)}"
    return DetectionSet(name, images, boxes, labels, classes, note)


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
            f"`{COMMAND} data --fetch cifar10` (looked in {looked})" if folder is None else "",
        ),
        DataSet("shapes", "shapes, drawn from a seed, 32 x 32 RGB, ten classes", _GENERATED, ""),
        *(_local(name, about, photos.find(name, root), photos.SETS[name], root) for name, about in _PHOTOS.items()),
        DataSet("scenes", "scenes with boxes, drawn from a seed, 128 x 128 RGB, six classes", _GENERATED, ""),
        _local("mnist", _MNIST, mnist.find(root), [f"{mnist.FOLDERS[0]}/"], root),
        *(
            _local(name, about, imagenet.find(name, root), [imagenet.SETS[name]], root)
            for name, about in _IMAGENET.items()
        ),
    ]


def _local(name: str, about: str, found: Path | None, files: Iterable[str], root: str | Path | None) -> DataSet:
    """A set that nobody fetches: it is in a folder of the reader's, or not here."""
    return DataSet(name, about, str(found), "") if found else DataSet(name, about, None, remedy(files, root))
