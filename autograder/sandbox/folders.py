"""What lies in a stranger's folder, looked through without going astray in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

DEEPEST = 30
"""Folders in folders that are opened. Python's own walks give up, or take minutes, at a thousand."""


def files_below(folder: Path, deepest: int = DEEPEST) -> Iterator[Path]:
    """All files, links too, in the order of their names; a folder at the ``deepest`` level comes itself, unopened.

    Nothing is followed out of the folder: a link to a folder counts as a file.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:  # it has gone, or is not for us to read
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False) and deepest > 0:
            yield from files_below(Path(entry.path), deepest - 1)
        else:
            yield Path(entry.path)
