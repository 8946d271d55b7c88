"""Where data lies, and the one error that says why it does not.

Stands on nothing but the standard library.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["DATA", "DataError", "places"]

DATA = Path(__file__).resolve().parents[2] / "data"
"""The repository's ``data`` folder: trained weights, and what ``course data`` downloads."""


class DataError(ValueError):
    """Data that is missing or damaged; the message says where and what to do."""


def places(root: str | Path | None = None) -> list[Path]:
    """The folders to look in, in order: ``root`` if given, ``$COURSE_DATA`` if set, the repository's ``data``."""
    return [Path(place) for place in (root, os.environ.get("COURSE_DATA"), DATA) if place]
