"""Copies of the gradebook, made before a run that changes grades: the way back, and a place to try a run first."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from autograder.errors import CourseError
from autograder.records.rows import GRADEBOOK

FOLDER = "backups"
KEPT = 10


@contextlib.contextmanager
def backed_up(output: Path) -> Iterator[None]:
    """Whatever the body does to the gradebook in ``output``, a copy of what was there is kept, also if it fails; none
    if nothing changed. Of the copies the last `KEPT` stay."""
    database, copy = Path(output) / GRADEBOOK, None
    if database.is_file():
        copy = Path(output) / FOLDER / f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}.db"
        copy.parent.mkdir(exist_ok=True)
        _copy(database, copy)
    try:
        yield
    finally:
        if copy is not None and _content(copy) == _content(database):
            copy.unlink()
        for old in backups(output)[:-KEPT]:
            old.unlink()


def backups(output: Path) -> list[Path]:
    """The copies that are there, the newest last."""
    return sorted((Path(output) / FOLDER).glob("*.db"))


def undo(output: Path) -> Path:
    """Puts the newest copy back in the gradebook's place; what it replaces becomes ``gradebook.undone.db``.

    Returns:
        The copy, which is a copy no more.

    Raises:
        CourseError: if there is none.
    """
    if not (copies := backups(output)):
        raise CourseError(f"there is no copy of a gradebook in {Path(output) / FOLDER}: nothing can be undone")
    database = Path(output) / GRADEBOOK
    if database.is_file():
        _copy(database, database.with_suffix(".undone.db"))
    _copy(copies[-1], database)
    copies[-1].unlink()
    return copies[-1]


@contextlib.contextmanager
def rehearsal(output: Path) -> Iterator[Path]:
    """A folder with a copy of the gradebook, gone at the end: what a run does there, it would do in ``output``."""
    with tempfile.TemporaryDirectory(prefix="dry-run-") as folder:
        if (database := Path(output) / GRADEBOOK).is_file():
            _copy(database, Path(folder) / GRADEBOOK)
        try:
            yield Path(folder)
        except CourseError as error:  # what is wrong with the copy is wrong with the gradebook
            raise CourseError(str(error).replace(folder, str(output))) from error


def _copy(source: Path, target: Path) -> None:
    """A copy as of one moment, whoever writes meanwhile; a file that is no database is copied as it is."""
    try:
        with contextlib.closing(sqlite3.connect(source)) as old, contextlib.closing(sqlite3.connect(target)) as new:
            old.backup(new)
    except sqlite3.DatabaseError:
        shutil.copyfile(source, target)


def _content(database: Path) -> bytes:
    """Stands for what is in a gradebook, however the file keeps it."""
    digest = hashlib.sha256()
    try:
        with contextlib.closing(sqlite3.connect(database)) as connection:
            for line in connection.iterdump():
                digest.update(line.encode("utf-8", "surrogatepass"))
    except sqlite3.DatabaseError:
        digest.update(database.read_bytes())
    return digest.digest()
