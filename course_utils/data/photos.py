"""Photos with boxes from a local folder: subsets of COCO and a set of shelf photos. Nothing is downloaded here.

A set is one zip with ``images/<name>.jpg`` and ``labels/<name>.txt``, a line a box: class, then centre x, centre y,
width and height as fractions of the image. The classes' names lie in ``darknet/``, one a line.

Stands on NumPy, torch, Pillow and `places`.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image

from course_utils.data.places import DataError, places, remedy

__all__ = ["SETS", "find", "photos"]

SETS = {
    "coco": ("coco/coco_val2017_subset.zip", "darknet/coco.names"),
    "coco-train": ("coco/coco_train2017_subset.zip", "darknet/coco.names"),
    "retail": ("retail/retail_test.zip", "darknet/retail.names"),
}
"""For each set the zip and the list of classes, relative to a data folder."""

Photos = tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor], tuple[str, ...]]


def find(name: str, root: str | Path | None = None) -> Path | None:
    """The data folder that holds the set, one of `SETS`, or None; see `places` for where it looks."""
    return next((place for place in places(root) if all((place / part).is_file() for part in SETS[name])), None)


def photos(name: str, root: str | Path | None = None, count: int | None = None) -> Photos:
    """The photos of a set, in the order of their names.

    Args:
        name: ``"coco"`` (168 photos of COCO's 2017 validation set), ``"coco-train"`` (88 of its training set) or
            ``"retail"`` (229 shelf photos).
        root: folder to look in first, before those of `places`.
        count: how many, if not all.

    Returns:
        images, uint8 (3, height, width) each, RGB 0..255; for each image its boxes, float32 (n, 4), left, top, right,
        bottom in pixels; its labels, int64 (n,); and the names of the classes.

    Raises:
        DataError: if there is no such set, it is nowhere, or its zip is damaged; the message names the file.
    """
    if name not in SETS:
        raise DataError(f"no set of photos is called {name!r}; there are {', '.join(SETS)}")
    folder = find(name, root)
    if folder is None:
        raise DataError(f"The photos {name!r} are not here: {remedy(SETS[name], root)}")
    path, names = (folder / part for part in SETS[name])
    classes = tuple(line.strip() for line in names.read_text(encoding="utf-8").splitlines() if line.strip())
    images, boxes, labels = [], [], []
    try:
        with zipfile.ZipFile(path) as archive:
            members = sorted(member for member in archive.namelist() if member.endswith(".jpg"))
            for member in members[:count]:
                pixels = np.array(Image.open(io.BytesIO(archive.read(member))).convert("RGB"))
                rows = np.array(archive.read(f"labels/{PurePosixPath(member).stem}.txt").split(), np.float64)
                some_boxes, some_labels = _boxes(rows.reshape(-1, 5), *pixels.shape[:2], len(classes))
                images.append(torch.from_numpy(pixels).permute(2, 0, 1).contiguous())
                boxes.append(some_boxes)
                labels.append(some_labels)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: missing or damaged: {error}. Put a good copy in its place.") from error
    return images, boxes, labels, classes


def _boxes(rows: np.ndarray, height: int, width: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    labels, centre, extent = rows[:, 0].astype(np.int64), rows[:, 1:3], rows[:, 3:5]
    if not ((labels == rows[:, 0]) & (labels >= 0) & (labels < classes)).all():
        raise ValueError(f"a label should be a class from 0 to {classes - 1}, found {rows[:, 0].tolist()}")
    if not ((rows[:, 1:] >= 0) & (rows[:, 1:] <= 1)).all():
        raise ValueError(f"a box should be four fractions of the image, found {rows[:, 1:].tolist()}")
    corners = np.concatenate([centre - extent / 2, centre + extent / 2], axis=1) * [width, height, width, height]
    return torch.from_numpy(corners.astype(np.float32)), torch.from_numpy(labels)
