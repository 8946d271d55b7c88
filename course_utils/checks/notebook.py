"""Reads a notebook that somebody saved with whatever program: the one reader of the grader, of `course check` and of
the start page.

What a cell lacks or has in an odd form costs that cell at most, never the notebook, and is told. Cells come out in one
form, whatever version of the format they went in with. Stands on Python's library alone.

Source: the notebook format, versions 2 to 4.5 (nbformat's schemas).
"""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["MAX_BYTES", "Notebook", "Unreadable", "parse_notebook", "read_content", "read_notebook"]

MAX_BYTES = 50 * 2**20
"""The largest notebook file that is read. Plots and prints of a lab take one or two MiB."""


NOT_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # the one of POSIX, the other of Windows


class Unreadable(Exception):
    """A file without a notebook in it. The message names the file and says what is wrong with it."""


@dataclass
class Notebook:
    """
    Attributes:
        cells: a dict each, with ``cell_type`` (code, markdown or raw), ``source`` (a text), ``metadata`` (a dict; its
            ``nbgrader``, if there, is one too, and ``tags`` are a list of texts) and, of code, ``outputs`` (a list of
            dicts whose ``data``, if there, are dicts). Nothing else of a cell is kept.
        metadata: a dict.
        problems: what was odd.
    """

    cells: list[dict[str, Any]] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read_notebook(path: Path) -> Notebook:
    """
    Raises:
        Unreadable: if the file is too large, no text, no JSON, or has no cells.
    """
    return parse_notebook(read_content(path), path.name)


def read_content(path: Path) -> bytes:
    """What is in a notebook's file.

    Raises:
        Unreadable: if it is no file, or too large.
    """
    try:
        # a pipe would keep who opens it waiting
        with open(os.open(path, os.O_RDONLY | NOT_WAITING), "rb") as file:  # noqa: PTH123
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise Unreadable(f"{path.name} is no file")
            content = file.read(MAX_BYTES + 1) if status.st_size <= MAX_BYTES else b""
            size = max(status.st_size, len(content))
    except OSError as error:
        raise Unreadable(f"{path.name} cannot be read: {error.strerror}") from None
    if size > MAX_BYTES:
        raise Unreadable(f"{path.name} has {size / 2**20:.0f} MiB (limit {MAX_BYTES / 2**20:.0f} MiB)")
    return content


def parse_notebook(content: bytes, name: str) -> Notebook:
    """The notebook in a file's content; ``name`` is for messages.

    Raises:
        Unreadable: see `read_notebook`.
    """
    if not content.strip(b"\0 \t\r\n"):
        raise Unreadable(f"{name} is empty")
    try:
        raw = json.loads(_decode(content))
    except UnicodeDecodeError as error:
        raise Unreadable(f"{name} is not UTF-8 text (byte {error.start})") from None
    except (ValueError, RecursionError) as error:  # a ValueError: no JSON, or a number of thousands of digits
        where = f" (line {error.lineno}: {error.msg})" if isinstance(error, json.JSONDecodeError) else ""
        if marks := re.search(rb"^(<<<<<<< |>>>>>>> )", content, re.MULTILINE):
            line = content.count(b"\n", 0, marks.start()) + 1
            where = f": git left a merge undone in it (line {line})"
        raise Unreadable(f"{name} is not a notebook: it is not JSON{where}") from None
    if not isinstance(raw, dict):
        raise Unreadable(f"{name} is not a notebook: it is JSON, but no object")
    cells = raw.get("cells")
    if cells is None and isinstance(raw.get("worksheets"), list):  # before version 4
        sheets = [sheet for sheet in raw["worksheets"] if isinstance(sheet, dict)]
        cells = [cell for sheet in sheets if isinstance(sheet.get("cells"), list) for cell in sheet["cells"]]
    if not isinstance(cells, list):
        raise Unreadable(f"{name} is not a notebook: it has no list of cells")
    notebook = Notebook(metadata=_dict(raw.get("metadata")))
    for number, cell in enumerate(cells, start=1):
        if not isinstance(cell, dict):
            notebook.problems.append(f"cell {number} of {name} is no cell")
            continue
        notebook.cells.append(read := _cell(cell))
        if read.pop("damaged"):
            notebook.problems.append(f"cell {number} of {name} has no source")
    if cells and len(notebook.problems) == len(cells):
        raise Unreadable(f"{name} is not a notebook: none of its cells has a source")
    return notebook


def _decode(content: bytes) -> str:
    """UTF-8 as Jupyter writes it, or what an editor on Windows may have made of it."""
    encoding = json.detect_encoding(content)  # UTF-16, UTF-32 and byte order marks show themselves
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        if not content.lstrip().startswith(b"{"):
            raise
        return content.decode("cp1252", "replace")


def _cell(cell: dict[str, Any]) -> dict[str, Any]:
    kind, source = cell.get("cell_type"), cell.get("source", cell.get("input"))
    if not isinstance(source, str | list):
        text, damaged = "", True
    else:
        parts = [source] if isinstance(source, str) else source
        text, damaged = "".join(p for p in parts if isinstance(p, str)), not all(isinstance(p, str) for p in parts)
    text = text.encode("utf-8", "replace").decode()  # JSON can say half a character, which no file or wire can hold
    if kind == "heading":  # before version 4
        kind, text = "markdown", f"# {text}"
    if kind not in ("code", "markdown", "raw"):
        kind = "code" if cell.keys() & {"outputs", "execution_count"} else "markdown"
    metadata = dict(_dict(cell.get("metadata")))
    if not isinstance(metadata.get("nbgrader", {}), dict):
        del metadata["nbgrader"]
    tags = metadata.get("tags")
    metadata["tags"] = [t for t in tags if isinstance(t, str)] if isinstance(tags, list) else []
    read = {
        "cell_type": kind,
        "source": text.replace("\r\n", "\n").replace("\r", "\n"),
        "metadata": metadata,
        "damaged": damaged,
    }
    if kind == "code":
        outputs = cell.get("outputs") if isinstance(cell.get("outputs"), list) else []
        outputs = [output for output in outputs if isinstance(output, dict)]
        read["outputs"] = [o | {"data": _dict(o["data"])} if "data" in o else o for o in outputs]
    return read


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
