"""CIFAR-10 from a local folder, in torchvision's layout or packed; nothing is downloaded here.

Torchvision's layout is ``cifar-10-batches-py/`` with the original batch files. The packed layout is ``cifar10/`` with
one zip for each original batch (``data_batch_1.zip`` .. ``test_batch.zip``) of lossless WebP strips, 500 images one
below the other, and ``labels.txt``. Both hold the original images in the original order, and both are proved by
checksums before use.

A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
Stands on torchvision, Pillow and `places`.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from course_utils import COMMAND
from course_utils.data.places import DataError, places

__all__ = ["CLASSES", "cifar10", "find"]

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_TORCHVISION, _PACKED = "cifar-10-batches-py", "cifar10"

# MD5 of a batch's pixels, uint8 (10000, 3, 32, 32), and of its labels as 10000 bytes
_TRAIN = {
    "data_batch_1": ("e089133f4b27fe2499933fb92fbbcc51", "30f55b79f7954f592721267e37ffcbcf"),
    "data_batch_2": ("1de5dd711a8f0bcacfb9a30601172ecc", "bdca50851f742064551c3fa947e975d6"),
    "data_batch_3": ("28797e8984ca472a21646d72d5b1660b", "23228d18cd9f4c032bb8cfa72996e3ef"),
    "data_batch_4": ("21ac5d7ad76f680cc37bf831afe4901e", "61be7314d261d42101f429408af67a28"),
    "data_batch_5": ("5b7262fae1c886554070552d6ce4fa79", "8ca6bc10f4bd0e81fba552f724423842"),
}
_TEST = {"test_batch": ("f1aa22116df97725db0e47461c45a82b", "251f18ce75337ae9ca5d0dbd7ea62cf4")}


def find(root: str | Path | None = None) -> Path | None:
    """The folder that holds CIFAR-10 in either layout, or None; see `places` for where it looks."""
    candidates = [place / layout for place in places(root) for layout in (_TORCHVISION, _PACKED)]
    return next((folder for folder in candidates if folder.is_dir()), None)


def cifar10(train: bool, root: str | Path | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """All images of CIFAR-10's training or test set, in the original order.

    Args:
        train: the 50,000 training images or the 10,000 test images.
        root: folder to look in first, before those of `places`.

    Returns:
        images, uint8 (N, 3, 32, 32), RGB 0..255; labels, int64 (N,), indices into `CLASSES`.

    Raises:
        DataError: if the data is nowhere, or a file of it is missing or damaged; the message names the file.
    """
    folder = find(root)
    if folder is None:
        looked = ", ".join(str(place) for place in places(root))
        raise DataError(
            f"CIFAR-10 is not here: looked for {_TORCHVISION}/ and {_PACKED}/ in {looked}. "
            f"Fetch it with `{COMMAND} data --fetch cifar10`, or set COURSE_DATA to the folder that holds it."
        )
    if folder.name == _TORCHVISION:
        return _read_torchvision(folder, train)
    batches = [_read_packed(folder / f"{name}.zip", *md5s) for name, md5s in (_TRAIN if train else _TEST).items()]
    images, labels = zip(*batches, strict=True)
    return torch.from_numpy(np.concatenate(images)), torch.from_numpy(np.concatenate(labels))


def _read_torchvision(folder: Path, train: bool) -> tuple[torch.Tensor, torch.Tensor]:
    from torchvision.datasets import CIFAR10  # here, as it takes as long to import as torch
    from torchvision.datasets.utils import check_integrity

    try:
        dataset = CIFAR10(folder.parent, train=train, download=False)
    except RuntimeError as error:  # torchvision does not say which file it is
        files = [*CIFAR10.train_list, *CIFAR10.test_list, [CIFAR10.meta["filename"], CIFAR10.meta["md5"]]]
        bad = next((folder / name for name, md5 in files if not check_integrity(str(folder / name), md5)), folder)
        raise DataError(f"{bad}: missing, or its MD5 is wrong. Remove {folder} and fetch CIFAR-10 anew.") from error
    images = np.ascontiguousarray(dataset.data.transpose(0, 3, 1, 2))
    return torch.from_numpy(images), torch.tensor(dataset.targets, dtype=torch.int64)


def _read_packed(path: Path, pixels_md5: str, labels_md5: str) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (N, 3, 32, 32) and labels int64 (N,) of one zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(name for name in archive.namelist() if name.endswith(".webp"))
            strips = [np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB")) for name in names]
            labels = np.array(archive.read("labels.txt").split(), np.int64)
        images = np.ascontiguousarray(np.concatenate(strips).reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: missing or damaged: {error}. Put a good copy in its place.") from error
    for what, content, md5 in (("pixels", images, pixels_md5), ("labels", labels.astype(np.uint8), labels_md5)):
        found = hashlib.md5(content.tobytes(), usedforsecurity=False).hexdigest()
        if found != md5:
            raise DataError(f"{path}: the MD5 of its {what} is {found}, not {md5}. Put a good copy in its place.")
    return images, labels
