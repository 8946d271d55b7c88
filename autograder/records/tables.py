"""CSV files as spreadsheets and learning systems write them: rosters, times, gradebooks.

Any of comma, semicolon and tab between the columns, UTF-8 with or without a byte order mark, UTF-16, or what an old
Windows wrote; blank rows; a first line ``sep=;``. What cannot be read for sure is an error that names the line.
"""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from autograder.errors import CourseError

SEPARATORS = ",;\t"


@dataclass(frozen=True)
class Table:
    """A file's rows.

    Attributes:
        header: the names of the columns, as they stand there.
        rows: the line in the file, and the cells of the row: as many as there are columns, without blanks around them.
    """

    path: Path
    header: list[str]
    rows: list[tuple[int, list[str]]]
    encoding: str
    separator: str


def read_table(path: Path) -> Table:
    """
    Raises:
        CourseError: if the file cannot be read, is empty, or a row has more cells than there are columns.
    """
    text, encoding = _decoded(path)
    lines = text.splitlines(keepends=True)
    skipped, separator = 0, ""
    if lines and lines[0].lower().startswith("sep=") and len(lines[0].strip("\r\n")) == 5:  # Excel's note to itself
        skipped, separator = 1, lines[0][4]
    while skipped < len(lines) and not lines[skipped].strip():
        skipped += 1
    if skipped == len(lines):
        raise CourseError(f"{path} is empty")
    if not separator:
        separator = max(SEPARATORS, key=_outside_quotes(lines[skipped]).count)
    reader = csv.reader(io.StringIO("".join(lines[skipped:]), newline=""), delimiter=separator)
    header, rows = None, []
    try:
        for cells in reader:
            line = reader.line_num + skipped
            cells = [unicodedata.normalize("NFC", cell).replace("\u00a0", " ").strip() for cell in cells]
            if "\0" in "".join(cells):
                raise CourseError(f"{path}, line {line}: it holds a NUL character")
            if header is None:
                header = cells
            elif any(cells):  # a spreadsheet writes a row of commas where somebody once clicked
                if any(cells[len(header) :]):
                    raise CourseError(
                        f"{path}, line {line}: {len(cells)} cells under {len(header)} columns: "
                        f"does a name hold a {separator!r} without quotes around it?"
                    )
                rows.append((line, (cells + [""] * len(header))[: len(header)]))
    except csv.Error as error:
        raise CourseError(f"{path}, line {reader.line_num + skipped}: {error}") from error
    return Table(path, header or [], rows, encoding, separator)


def _decoded(path: Path) -> tuple[str, str]:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise CourseError(f"{path} cannot be read: {error.strerror}") from error
    # Python's library finds UTF-8, 16 and 32 by mark or by where the zeros are; only text begins so
    likely = json.detect_encoding(content) if content else "utf-8"
    for encoding in (likely, "cp1252"):
        try:
            return content.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    raise CourseError(f"{path} is neither UTF-8 nor another text that is known: save it as CSV UTF-8")


def _outside_quotes(line: str) -> str:
    return "".join(line.split('"')[::2])
