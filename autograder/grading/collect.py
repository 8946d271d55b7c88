"""Takes submissions out of a folder or an LMS's zip archive into ``<to>/<student>/<lab>.ipynb``.

Understands the names that Canvas and Moodle give, and a folder for each student. Of an archive nothing is taken but
notebooks, under names that are made here, so that no name in it decides where something is written.
"""

from __future__ import annotations

import re
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from autograder.errors import CourseError
from course_utils.checks.notebook import MAX_BYTES

MAX_RATIO = 500  # bytes for each compressed one; a notebook full of equal outputs has a hundred
MAX_TOTAL = 20 * 2**30  # bytes of all notebooks of an archive

CANVAS = re.compile(r"^(?P<student>[^_/]+?)(?P<late>_LATE)?_(?P<id>\d+)_(?P<file>\d+)_(?P<name>.+)$")
MOODLE = re.compile(r"^(?P<student>.+)_(?P<id>\d+)_assignsubmission_file_?$")


@dataclass
class Collected:
    """What was taken, and what was refused and why."""

    taken: dict[str, str] = field(default_factory=dict)  # student -> where it came from
    refused: list[str] = field(default_factory=list)


def collect(source: Path, lab: str, to: Path) -> Collected:
    """
    Args:
        source: a folder or a zip archive.
        lab: its name; the notebook gets it.
        to: gets a folder for each student. What lies there of the same student is replaced.

    Raises:
        CourseError: if the source cannot be read.
    """
    found, done = {}, Collected()
    for name, read in _notebooks(source, done):
        student = _student(name)
        if student is None:
            done.refused.append(f"{_shown(name)}: its name does not say whose it is")
            continue
        # of several of one student, the lab's own name wins, else the last: Canvas numbers what is handed in again
        if student in found and PurePosixPath(found[student][0]).stem == lab != PurePosixPath(name).stem:
            continue
        found[student] = (name, read)
    for student, (name, read) in sorted(found.items()):
        try:
            content = read()
        except (OSError, RuntimeError, ValueError, zipfile.BadZipFile, NotImplementedError, EOFError) as error:
            done.refused.append(f"{student}: {_shown(name)}: {error}")
            continue
        folder = to / student
        if folder.is_symlink() or (folder / f"{lab}.ipynb").is_symlink():
            done.refused.append(f"{student}: {folder} is a link to elsewhere")
            continue
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{lab}.ipynb").write_bytes(content)
        done.taken[student] = name
    return done


def _notebooks(source: Path, done: Collected) -> Iterator[tuple[str, object]]:
    """Names of notebooks, sorted, and for each a function that reads it."""
    if source.is_dir():
        for path in sorted(source.rglob("*.ipynb")):
            name = path.relative_to(source).as_posix()
            if _is_litter(name):
                continue
            if path.is_symlink() or not path.resolve().is_relative_to(source.resolve()) or not path.is_file():
                done.refused.append(f"{_shown(name)}: it is a link, or no file")
            else:
                yield name, lambda path=path: _read_file(path)
        return
    try:
        archive = zipfile.ZipFile(source)
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise CourseError(f"{source} is neither a folder nor a zip archive: {error}") from error
    total = 0
    for member in sorted(archive.infolist(), key=lambda m: m.filename):
        name = member.filename.replace("\\", "/")
        if not name.lower().endswith(".ipynb") or _is_litter(name):
            continue
        total += member.file_size
        if problem := _trick(member, name):
            done.refused.append(f"{_shown(name)}: {problem}")
        elif total > MAX_TOTAL:
            done.refused.append(f"{_shown(name)}: the archive's notebooks have more than {MAX_TOTAL / 2**30:.0f} GiB")
        else:
            yield name, lambda member=member: _read_member(archive, member)


def _trick(member: zipfile.ZipInfo, name: str) -> str:
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or re.match(r"^[A-Za-z]:", name):
        return "its name leads out of the archive"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "it is a link"
    if member.flag_bits & 1:
        return "it is encrypted"
    if member.file_size > MAX_BYTES:
        return f"it has {member.file_size / 2**20:.0f} MiB (limit {MAX_BYTES / 2**20:.0f} MiB)"
    if member.file_size > 2**20 and member.file_size > MAX_RATIO * max(member.compress_size, 1):
        return "it is a zip bomb"
    return ""


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    with archive.open(member) as file:
        return _limited(file.read(MAX_BYTES + 1))  # the size that stands in the archive may be a lie


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return _limited(file.read(MAX_BYTES + 1))


def _limited(content: bytes) -> bytes:
    if len(content) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES / 2**20:.0f} MiB")
    return content


def _is_litter(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts if part != "..")


def _student(name: str) -> str | None:
    """Whose notebook it is, as a folder's name; None if its name does not say so."""
    *folders, file = PurePosixPath(name).parts
    for folder in folders:
        if match := MOODLE.match(folder):
            return _folder_name(f"{match['student']}_{match['id']}")
    if match := CANVAS.match(file):
        return _folder_name(f"{match['student']}_{match['id']}")
    return _folder_name(folders[0]) if folders else None


def _folder_name(text: str) -> str | None:
    """A name for a folder that exists on every system and is no path."""
    name = re.sub(r"[^\w@+ .-]", "_", text).strip(" .")[:100]
    return name or None


def _shown(name: str) -> str:
    return name.encode("ascii", "backslashreplace").decode()[:200]
