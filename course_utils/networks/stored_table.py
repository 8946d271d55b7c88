"""The files beside the weights in which scripts keep what they measured, ``<kind>-<name>.json``: where they lie, how
they are read and how they are written.

Stands on `models` for the folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from course_utils.networks.models import WEIGHTS

__all__ = ["TableError", "read_stored", "stored_path", "write_stored"]

Made = TypeVar("Made")


class TableError(ValueError):
    """A stored table that is missing or damaged, or something that it does not have; the message names the file."""


def stored_path(kind: str, name: str, folder: Path = WEIGHTS) -> Path:
    return folder / f"{kind}-{name}.json"


def read_stored(path: Path, make: Callable[[dict[str, Any]], Made], script: str) -> Made:
    """What ``make`` makes of a file's content.

    Args:
        path: see `stored_path`.
        make: raises KeyError, IndexError, ValueError, TypeError or AttributeError where the content is not as it needs.
        script: what writes such a file, for messages.

    Raises:
        TableError: if the file is not there, cannot be read, or is not what the script writes.
    """
    try:
        return make(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        kind = path.name.partition("-")[0]
        there = sorted(p.stem.removeprefix(f"{kind}-") for p in path.parent.glob(f"{kind}-*.json"))
        raise TableError(f"{path}: no such table; there are: {', '.join(there) or 'none'}") from error
    except OSError as error:
        raise TableError(f"{path}: cannot be read: {error.strerror}") from error
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise TableError(f"{path}: damaged: {error!r}. Make it anew with {script}.") from error


def write_stored(path: Path, facts: Mapping[str, Any], **parts: Mapping[str, Any] | list) -> None:
    """The whole file anew, an entry of a part on each line; a killed process leaves the old one."""
    written = [f'"facts": {json.dumps(facts)}']
    for name, part in parts.items():
        named = isinstance(part, Mapping)
        begin, end = "{}" if named else "[]"
        entries = [f"{json.dumps(key)}: {json.dumps(part[key])}" for key in part] if named else map(json.dumps, part)
        written.append(f"{json.dumps(name)}: {begin}\n" + ",\n".join(f"  {entry}" for entry in entries) + f"\n{end}")
    fresh = path.with_suffix(".new")
    fresh.write_text("{" + ",\n".join(written) + "}\n", encoding="utf-8")
    fresh.chmod(0o644)
    fresh.replace(path)
