"""Crops of ImageNet from a local folder; nothing is downloaded here.

``imagenet/imagenet_250.zip`` holds ``NNNN.jpg``, 250 crops of 224 x 224, named by their class (most likely of the
training set). ``imagenet_val/imagenet_val_227.zip`` holds 942 photos of the validation set of 227 x 227, of which the
centre is taken, and ``labels.csv`` with the columns ``file`` and ``class``. Classes are 0..999, synsets sorted.

O. Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", 2015.
Stands on NumPy, torch, Pillow and `places`.
"""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from course_utils.data.places import DataError, places, remedy

__all__ = ["SETS", "find", "imagenet"]

SETS = {"imagenet": "imagenet/imagenet_250.zip", "imagenet_val": "imagenet_val/imagenet_val_227.zip"}
"""For each set its zip, relative to a data folder."""

SIZE, CLASSES = 224, 1000


def find(name: str, root: str | Path | None = None) -> Path | None:
    """The zip of a set, one of `SETS`, or None; see `places` for where it looks."""
    return next((place / SETS[name] for place in places(root) if (place / SETS[name]).is_file()), None)


def imagenet(name: str, root: str | Path | None = None, size: int = SIZE) -> tuple[torch.Tensor, torch.Tensor]:
    """All images of a set, in the order of their names.

    Args:
        name: ``"imagenet"`` or ``"imagenet_val"``.
        root: folder to look in first, before those of `places`.
        size: height and width of the centre that is taken.

    Returns:
        images, uint8 (N, 3, size, size), RGB 0..255; labels, int64 (N,), 0..999.

    Raises:
        DataError: if there is no such set, it is nowhere, or its zip is damaged; the message names the file.
    """
    if name not in SETS:
        raise DataError(f"no set of ImageNet's crops is called {name!r}; there are {', '.join(SETS)}")
    path = find(name, root)
    if path is None:
        raise DataError(f"ImageNet's crops {name!r} are not here: {remedy([SETS[name]], root)}")
    images, labels = [], []
    try:
        with zipfile.ZipFile(path) as archive:
            for member, label in _labels(archive):
                if not 0 <= label < CLASSES:
                    raise ValueError(f"the class of {member} should be 0 to {CLASSES - 1}, not {label}")
                images.append(_centre(member, Image.open(io.BytesIO(archive.read(member))).convert("RGB"), size))
                labels.append(label)
        if not images:
            raise ValueError("there is no image in it")
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: missing or damaged: {error}. Put a good copy in its place.") from error
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return pixels, torch.tensor(labels)


def _labels(archive: zipfile.ZipFile) -> list[tuple[str, int]]:
    """Images and their classes: as the list says, or else as the images are called."""
    crops = sorted(member for member in archive.namelist() if member.endswith(".jpg"))
    if crops:
        return [(crop, int(Path(crop).stem)) for crop in crops]
    lines = archive.read("labels.csv").decode("utf-8").splitlines()
    return sorted((row["file"], int(row["class"])) for row in csv.DictReader(lines))


def _centre(name: str, image: Image.Image, size: int) -> np.ndarray:
    """uint8 (size, size, 3)."""
    if min(image.size) < size:
        raise ValueError(f"{name} is {image.width} x {image.height}, smaller than {size} x {size}")
    left, top = ((side - size) // 2 for side in image.size)
    return np.asarray(image.crop((left, top, left + size, top + size)))
