"""Hints in three levels. The first, where to look, comes with the rule that is broken. The second and third, the idea
and the steps, are the exercise's, and stand in ``hints.toml`` beside the notebook: in the check cell everybody would
read them.

Stands on Python's library alone.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

__all__ = ["FILE", "KEYS", "LEVELS", "further_hints"]

FILE = "hints.toml"
KEYS = ("idea", "steps")  # in the file
LEVELS = ("where to look", "the idea", "the steps")


def further_hints(exercise: str, folder: Path | None = None) -> dict[str, str]:
    """Levels two and three of an exercise, from ``hints.toml`` in ``folder`` (the notebook's); none if it is not there.

    A file that cannot be read costs nobody the verdict: the hint then says what is wrong with it.
    """
    path = (folder or Path.cwd()) / FILE
    if not path.is_file():
        return {}
    try:
        own = dict(tomllib.loads(path.read_text(encoding="utf-8")).get(exercise, {}))
        return {level: str(own[key]).strip() for level, key in zip(LEVELS[1:], KEYS, strict=True) if key in own}
    except (OSError, ValueError) as error:  # no UTF-8, no TOML and no table are ValueErrors
        return {"none": f"{FILE} cannot be read ({error}): take it from the release again"}
