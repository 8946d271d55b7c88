"""What lies in a folder or a zip archive, whoever made it: every file once, with its name and a way to read it.

Nothing is unpacked to disk, and archives are opened in a child with limits (`readers`): one that takes too much costs
itself. Names come out as Unicode (NFC) with ``/`` between folders; a zip archive within is a folder of its files. What
cannot be taken (a link, a bomb, a name that leads elsewhere) comes out with the reason.
"""

from __future__ import annotations

import contextlib
import functools
import io
import lzma
import os
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, Any

from autograder.errors import CourseError
from autograder.processes.limited import Limited, Stopped
from autograder.sandbox.folders import DEEPEST, files_below
from autograder.sandbox.strangers import visible_name
from course_utils.checks.notebook import MAX_BYTES

MAX_RATIO = 500  # bytes for each compressed one; a notebook full of equal outputs has a hundred
MAX_TOTAL = 20 * 2**30  # bytes of all files of an archive that are read
MAX_INNER = 2**30  # bytes of all files of one archive within
MOST_INNER = 10_000  # files of one archive within
MOST_FILES = 100_000  # files of all others together
LONGEST_PART = 255  # bytes of a name between two slashes, as in any file system


@dataclass(frozen=True)
class Source:
    """One file.

    Attributes:
        name: its path, relative to the folder or archive.
        outer: how many parts of the path name the file as the learning system has it: fewer than all if what was
            handed in is an archive itself.
        place: where it is, for `readers`: the path of a folder or an archive, a path or a number in that, and so on.
        trouble: why it must not be read; empty if it may.
    """

    name: str
    outer: int
    place: tuple[str | int, ...]
    trouble: str = ""

    @property
    def parts(self) -> tuple[str, ...]:
        return PurePosixPath(self.name).parts


def files_in(source: Path, limited: Limited, leave_out: Path | None = None) -> list[Source]:
    """All files of a folder or a zip archive, sorted by name; ``leave_out`` is a folder that is not looked into.

    Args:
        limited: has `readers` among its functions.

    Raises:
        CourseError: if it is neither, or holds too many files.
    """
    top, left = str(source.absolute()), MAX_TOTAL
    try:
        if source.is_dir():
            files = limited.call("in_folder", top, str(leave_out) if leave_out else None)
        else:
            files, used = limited.call("in_archive", [top], left, MOST_FILES)
            left -= used
    except (CourseError, Stopped) as error:
        raise CourseError(f"{source} cannot be read: {error}") from None
    found = []
    for name, inside, trouble in files:
        whole = Source(name, len(PurePosixPath(name).parts), (top, inside), trouble)
        if trouble or not name.lower().endswith(".zip") or is_litter(whole.parts):
            found.append(whole)
            continue
        try:
            inner, used = limited.call("in_archive", whole.place, min(MAX_INNER, left), MOST_INNER)
        except (CourseError, Stopped) as error:
            found.append(replace(whole, trouble=str(error)))
            continue
        left -= used
        found += [Source(f"{name}/{file}", whole.outer, (*whole.place, at), told) for file, at, told in inner] or [
            replace(whole, trouble="it is an empty archive")
        ]
    return found


def readers() -> dict[str, Callable[..., Any]]:
    """Functions for a `Limited`, which raise `CourseError` where something cannot be read."""

    def in_folder(folder: str, leave_out: str | None) -> list[_File]:
        files = list(_in_folder(Path(folder), None if leave_out is None else Path(leave_out).resolve()))
        _expect_few([name for name, _, _ in files], MOST_FILES)
        return files

    def in_archive(place: Sequence[str | int], most: int, files: int) -> tuple[list[_File], int]:
        """The files of an archive; and the bytes of those that may be read, at most ``most``."""
        try:
            archive = opened(*place)
        except BROKEN as error:
            raise CourseError(f"it is no zip archive that can be opened: {error}") from None
        _expect_few(archive.namelist(), files)
        return _in_archive(archive, most)

    def content(*place: str | int) -> bytes:
        try:
            return read(*place)
        except BROKEN as error:
            raise CourseError(f"it cannot be read: {error}") from None

    def read(*place: str | int) -> bytes:
        *around, inside = place
        if isinstance(inside, str):
            with Path(*around, inside).open("rb") as file:
                return _limited(file)
        archive = opened(*around)
        with archive.open(archive.infolist()[inside]) as file:
            return _limited(file)  # the size that stands in the archive may be a lie

    @functools.lru_cache(2)  # an archive and one within
    def opened(*place: str | int) -> zipfile.ZipFile:
        if len(place) > 1:
            return zipfile.ZipFile(io.BytesIO(read(*place)))
        archive = zipfile.ZipFile(place[0])
        if before := min((member.header_offset for member in archive.infolist()), default=0):
            # where a system's archive is cut off, the last whole archive in it is taken for it
            raise zipfile.BadZipFile(f"{before:,} bytes stand before its first file, as where an archive is cut off")
        return archive

    return {"in_folder": in_folder, "in_archive": in_archive, "content": content}


_File = tuple[str, str | int, str]
"""A file's name, where it is in its folder or archive, and why it must not be read."""


def _in_folder(source: Path, leave_out: Path | None) -> Iterator[_File]:
    inside = source.resolve()
    for path in files_below(source):
        link = path.is_symlink()  # perhaps to itself, so that it leads nowhere
        if leave_out is not None and not link and path.resolve().is_relative_to(leave_out):
            continue
        own = path.relative_to(source).as_posix()
        name = unicodedata.normalize("NFC", os.fsencode(own).decode("utf-8", "backslashreplace"))
        if path.is_dir() and not link:
            yield name, own, f"folders in folders, more than {DEEPEST} deep"
        elif link or not path.is_file() or not path.resolve().is_relative_to(inside):
            yield name, own, "it is a link, or no file"
        else:
            yield name, own, ""


def _in_archive(archive: zipfile.ZipFile, most: int) -> tuple[list[_File], int]:
    found: list[_File] = []
    total = 0
    members = archive.infolist()
    for at in sorted(range(len(members)), key=lambda at: _name(members[at])):
        name = _name(members[at])
        if members[at].is_dir() or name.endswith("/"):
            continue
        if trouble := _trick(members[at], name, total, most):
            name = "/".join(part[:LONGEST_PART] for part in name.split("/")[:DEEPEST])
        else:
            total += members[at].file_size
        found.append((name, at, trouble))
    return found, total


def _expect_few(names: list[str], most: int) -> None:
    """
    Raises:
        CourseError: if there are more; it names the folder in which they are.
    """
    if len(names) <= most:
        return
    holds = Counter("/".join(parts[:n]) for parts in (name.split("/") for name in names) for n in range(1, len(parts)))
    crowded = max((folder for folder, count in holds.items() if 2 * count > len(names)), key=len, default="")
    where = f", {holds[crowded]:,} of them in {visible_name(crowded)}" if crowded else ""
    raise CourseError(f"it has more than {most:,} files: {len(names):,}{where}")


BROKEN = (
    *(OSError, RuntimeError, ValueError, NotImplementedError, EOFError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
)
"""What reading a file of an archive raises."""


def _name(member: zipfile.ZipInfo) -> str:
    """A file's name in an archive. Many programs write UTF-8 and forget to set the flag that says so."""
    name = member.filename
    if not member.flag_bits & 0x800:
        with contextlib.suppress(UnicodeError):  # then it is the old code page of DOS
            name = name.encode("cp437").decode("utf-8")
    return unicodedata.normalize("NFC", name.replace("\\", "/"))


def _trick(member: zipfile.ZipInfo, name: str, total: int, most: int) -> str:
    if name.startswith("/") or ".." in PurePosixPath(name).parts or re.match(r"^[A-Za-z]:", name):
        return "its name leads out of the archive"
    parts = PurePosixPath(name).parts
    if len(parts) > DEEPEST or any(len(part.encode("utf-8", "surrogatepass")) > LONGEST_PART for part in parts):
        return "its name is longer than a file's can be"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "it is a link"
    if member.flag_bits & 1:
        return "it is encrypted"
    if member.file_size > MAX_BYTES:
        return f"it has {member.file_size / 2**20:.0f} MiB (limit {MAX_BYTES / 2**20:.0f} MiB)"
    if member.file_size > 2**20 and member.file_size > MAX_RATIO * max(member.compress_size, 1):
        return "it is a zip bomb"
    if total + member.file_size > most:
        return f"the archive's files have more than {most / 2**30:.3g} GiB"
    return ""


def _limited(file: IO[bytes]) -> bytes:
    content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES / 2**20:.0f} MiB")
    return content


LITTER = ("__macosx", "thumbs.db", "desktop.ini", "ehthumbs.db")


def is_litter(parts: tuple[str, ...]) -> bool:
    """Whether a file is what macOS, Windows, Jupyter or Office lay beside what people make."""
    if any(part.startswith(".") or part.lower() in LITTER for part in parts if part != ".."):
        return True
    file = parts[-1] if parts else ""
    return file.startswith("~$") or bool(re.search(r"-checkpoint(\W\w+)?\.ipynb$", file, re.IGNORECASE))
