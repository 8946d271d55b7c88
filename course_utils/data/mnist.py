"""MNIST from a local folder; nothing is downloaded here.

Four files as they were published, ``train-images-idx3-ubyte.gz`` and so on, in ``mnist/`` or, as torchvision leaves
them, in ``MNIST/raw/``. They are proved by the MD5 of what is inside.

Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition", 1998.
Stands on NumPy, torch and `places`.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from course_utils.data.places import DataError, places

__all__ = ["find", "mnist"]

FOLDERS = ("mnist", "MNIST/raw")
SIZE = 28

_MD5 = {
    "train-images-idx3-ubyte.gz": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte.gz": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte.gz": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte.gz": "27ae3e4e09519cfbb04c329615203637",
}


def find(root: str | Path | None = None) -> Path | None:
    """The folder that holds MNIST, or None; see `places` for where it looks."""
    candidates = [place / folder for place in places(root) for folder in FOLDERS]
    return next((folder for folder in candidates if folder.is_dir()), None)


def mnist(train: bool, root: str | Path | None = None) -> tuple[Tensor, Tensor]:
    """All images of MNIST's training or test set, in the original order.

    Args:
        train: the 60,000 training images or the 10,000 test images.
        root: folder to look in first, before those of `places`.

    Returns:
        images, uint8 (N, 1, 28, 28), 0 is the paper; labels, int64 (N,), the digits.

    Raises:
        DataError: if the data is nowhere, or a file of it is missing or damaged; the message names the file.
    """
    folder = find(root)
    if folder is None:
        looked = ", ".join(str(place) for place in places(root))
        raise DataError(
            f"MNIST is not here: looked for {' and '.join(f'{name}/' for name in FOLDERS)} in {looked}. "
            "Set COURSE_DATA to the folder that holds it."
        )
    part = "train" if train else "t10k"
    pixels = _read(folder / f"{part}-images-idx3-ubyte.gz", header=16)
    labels = _read(folder / f"{part}-labels-idx1-ubyte.gz", header=8)
    return torch.from_numpy(pixels).view(-1, 1, SIZE, SIZE), torch.from_numpy(labels).long()


def _read(path: Path, header: int) -> np.ndarray:
    """The bytes behind the header, uint8 (n,). Whose MD5 is right, has the right header."""
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: missing or damaged: {error}. Put a good copy in its place.") from error
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != _MD5[path.name]:
        raise DataError(
            f"{path}: the MD5 of its content is {found}, not {_MD5[path.name]}. Put a good copy in its place."
        )
    return np.frombuffer(bytearray(content), np.uint8, offset=header)
