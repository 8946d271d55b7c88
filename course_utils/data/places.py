"""Where data lies, and the one error that says why it does not.

Stands on nothing but the standard library, and on platformdirs where the course is not a checkout.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

__all__ = ["DATA", "DataError", "places", "remedy"]


def _downloads(package: Path) -> Path:
    """A checkout's ``data``; where the package is installed, a folder of the user's that outlives it."""
    checkout = package.parent
    if (checkout / "solutions").is_dir():
        return checkout / "data"
    import platformdirs

    return platformdirs.user_data_path("quantization-course", appauthor=False)


DATA = _downloads(Path(__file__).resolve().parents[1])
"""What ``course data`` downloads lies here.

:meta hide-value:
"""


class DataError(ValueError):
    """Data that is missing or damaged; the message says where and what to do."""


def places(root: str | Path | None = None) -> list[Path]:
    """The folders to look in, in order: ``root`` if given, ``$COURSE_DATA`` if set, and `DATA`."""
    return [Path(place) for place in (root, os.environ.get("COURSE_DATA"), DATA) if place]


def remedy(files: Iterable[str], root: str | Path | None = None) -> str:
    """What to do where files of a data folder are missing, and where they were looked for: the end of a message."""
    looked = ", ".join(map(str, places(root)))
    return f"set COURSE_DATA to a folder with {' and '.join(files)} (looked in {looked})"
