"""What lies in a folder or a zip archive, whoever made it: every file once, with its name and a way to read it.

Nothing is unpacked to disk. Names come out as Unicode (NFC) with ``/`` between folders; a zip archive within is a
folder of its files. What cannot be taken (a link, a bomb, a name that leads elsewhere) comes out with the reason.
"""

from __future__ import annotations

import contextlib
import io
import lzma
import os
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from autograder.errors import CourseError
from autograder.sandbox.folders import DEEPEST, files_below
from course_utils.checks.notebook import MAX_BYTES

MAX_RATIO = 500  # bytes for each compressed one; a notebook full of equal outputs has a hundred
MAX_TOTAL = 20 * 2**30  # bytes of all files of an archive that are read
MAX_INNER = 2**30  # bytes of all files of one archive within
MOST_INNER = 10_000  # files of one archive within
LONGEST_PART = 255  # bytes of a name between two slashes, as in any file system
ENTRY = b"PK\x01\x02"  # how the directory of an archive names each file


@dataclass(frozen=True)
class Source:
    """One file.

    Attributes:
        name: its path, relative to the folder or archive.
        outer: how many parts of the path name the file as the learning system has it: fewer than all if what was
            handed in is an archive itself.
        read: gives its content; raises OSError, ValueError or what zipfile does.
        trouble: why it must not be read; empty if it may.
    """

    name: str
    outer: int
    read: Callable[[], bytes]
    trouble: str = ""

    @property
    def parts(self) -> tuple[str, ...]:
        return PurePosixPath(self.name).parts


def files_in(source: Path, leave_out: Path | None = None) -> list[Source]:
    """All files of a folder or a zip archive, sorted by name; ``leave_out`` is a folder that is not looked into.

    Raises:
        CourseError: if it is neither.
    """
    if source.is_dir():
        return list(_in_folder(source, leave_out))
    try:
        archive = zipfile.ZipFile(source)
    except BROKEN as error:
        raise CourseError(f"{source} is neither a folder nor a zip archive: {error}") from error
    return list(_in_archive(archive, "", _Total()))


@dataclass
class _Total:
    """Bytes of all files so far, and of how many none is read any more."""

    most: int = MAX_TOTAL
    bytes: int = 0


def _in_folder(source: Path, leave_out: Path | None) -> Iterator[Source]:
    total, inside = _Total(), source.resolve()
    for path in files_below(source):
        link = path.is_symlink()  # perhaps to itself, so that it leads nowhere
        if leave_out is not None and not link and path.resolve().is_relative_to(leave_out.resolve()):
            continue
        own = os.fsencode(path.relative_to(source).as_posix()).decode("utf-8", "backslashreplace")
        name = unicodedata.normalize("NFC", own)
        if path.is_dir() and not link:
            told = f"folders in folders, more than {DEEPEST} deep"
            yield Source(name, len(PurePosixPath(name).parts), lambda: b"", told)
        elif link or not path.is_file() or not path.resolve().is_relative_to(inside):
            yield Source(name, len(PurePosixPath(name).parts), lambda: b"", "it is a link, or no file")
        else:
            yield from _opened(name, lambda path=path: _read_file(path), total)


def _in_archive(archive: zipfile.ZipFile, folder: str, total: _Total) -> Iterator[Source]:
    outer = len(PurePosixPath(folder).parts)
    for member in sorted(archive.infolist(), key=_name):
        name = _name(member)
        if member.is_dir() or name.endswith("/"):
            continue
        trouble = _trick(member, name, total)
        total.bytes += 0 if trouble else member.file_size
        whole = f"{folder}{name}"
        if trouble:
            whole = "/".join(part[:LONGEST_PART] for part in whole.split("/")[:DEEPEST])
            yield Source(whole, outer or len(PurePosixPath(whole).parts), lambda: b"", trouble)
            continue

        def read(member: zipfile.ZipInfo = member) -> bytes:
            with archive.open(member) as file:
                return _limited(file.read(MAX_BYTES + 1))  # the size that stands in the archive may be a lie

        if outer:
            yield Source(whole, outer, read)
        else:
            yield from _opened(name, read, total)


def _opened(name: str, read: Callable[[], bytes], total: _Total) -> Iterator[Source]:
    """A file; of one that is a zip archive, those in it. Archives in that are files."""
    parts = len(PurePosixPath(name).parts)
    if not name.lower().endswith(".zip") or is_litter(PurePosixPath(name).parts):
        yield Source(name, parts, read)
        return
    try:
        content = read()
        if content.count(ENTRY) > MOST_INNER:
            yield Source(name, parts, read, f"it is an archive of more than {MOST_INNER:,} files")
            return
        archive = zipfile.ZipFile(io.BytesIO(content))
    except BROKEN as error:
        yield Source(name, parts, read, f"it is no zip archive that can be opened: {error}")
        return
    found = list(_in_archive(archive, f"{name}/", inner := _Total(min(MAX_INNER, total.most - total.bytes))))
    total.bytes += inner.bytes
    yield from found or [Source(name, parts, read, "it is an empty archive")]


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


def _trick(member: zipfile.ZipInfo, name: str, total: _Total) -> str:
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
    if total.bytes + member.file_size > total.most:
        return f"the archive's files have more than {total.most / 2**30:.3g} GiB"
    return ""


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return _limited(file.read(MAX_BYTES + 1))


def _limited(content: bytes) -> bytes:
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
