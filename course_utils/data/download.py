"""Download of public data sets from their official sites, only when asked.

Stands on `cifar` (what is here), torchvision (address and checksum) and rich (the progress bar).
"""

from __future__ import annotations

import hashlib
import http.client
import tarfile
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from course_utils.data import cifar
from course_utils.data.places import DataError, places

__all__ = ["fetch"]

_SILENCE = 30  # seconds without a byte before the download is given up
_PIECE = 2**18  # bytes


def fetch(name: str, root: str | Path | None = None, progress: Callable[[int, int | None], None] | None = None) -> Path:
    """Download a data set, unless it is already here.

    Args:
        name: only ``"cifar10"`` (163 MiB).
        root: folder to put it in; by default the first of `places`.
        progress: called with the bytes done and the bytes in all (None if unknown); by default a bar is drawn.

    Returns:
        the folder that holds the data.

    Raises:
        DataError: if the name is unknown, the site or the folder cannot be used, or the checksum is wrong. Nothing
            half-written is left then.
    """
    if name != "cifar10":
        raise DataError(f"there is nothing to fetch for {name!r}; what can be fetched: cifar10")
    found = cifar.find(root)
    if found is not None:
        return found
    if progress is None:
        with _bar() as bar:
            task = bar.add_task("CIFAR-10", total=None)
            return _fetch_cifar10(places(root)[0], lambda done, total: bar.update(task, completed=done, total=total))
    return _fetch_cifar10(places(root)[0], progress)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    )


def _fetch_cifar10(root: Path, progress: Callable[[int, int | None], None]) -> Path:
    from torchvision.datasets import CIFAR10  # here, as it takes as long to import as torch

    target = root / CIFAR10.base_folder
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=root) as scratch:
            archive = Path(scratch) / CIFAR10.filename
            md5 = _download(CIFAR10.url, archive, progress)
            if md5 != CIFAR10.tgz_md5:
                raise DataError(
                    f"{CIFAR10.url}: what came has the MD5 {md5}, not {CIFAR10.tgz_md5}; it is removed. "
                    "The download was cut short or changed on its way: try again."
                )
            with tarfile.open(archive) as tar:
                tar.extractall(scratch, filter="data")
            (Path(scratch) / CIFAR10.base_folder).rename(target)  # appears at once, or not at all
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"{root}: cannot be written: {error}") from error
    return target


def _download(url: str, target: Path, progress: Callable[[int, int | None], None]) -> str:
    """Write what ``url`` holds to ``target``; return its MD5."""
    digest, done = hashlib.md5(usedforsecurity=False), 0
    with target.open("wb") as file:
        try:
            response = urllib.request.urlopen(url, timeout=_SILENCE)
            with response:
                length = response.headers.get("Content-Length")
                total = int(length) if length else None
                while piece := response.read(_PIECE):
                    file.write(piece)
                    digest.update(piece)
                    done += len(piece)
                    progress(done, total)
        except (OSError, http.client.HTTPException) as error:
            raise DataError(
                f"{url}: cannot be downloaded: {error}. Without CIFAR-10 the labs run on generated shapes."
            ) from error
    return digest.hexdigest()
